-- Claim the due job that comes first, of these ids and queues if they are given, under a fresh lease.
-- For whoever runs jobs one by one, as the testing kit does: their queue need not be declared, and
-- its rate limit is not charged. A queue that is paused gives none.
WITH due AS MATERIALIZED (
    SELECT id
      FROM {jobs} AS job
     WHERE state = 'pending'
       AND (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s::uuid[]))
       AND (%(queues)s::text[] IS NULL OR queue = ANY(%(queues)s::text[]))
       AND NOT EXISTS (SELECT FROM {queues} AS q
                        WHERE q.name = job.queue AND q.state = 'paused'
                          AND (q.resume_at > {now}()) IS NOT FALSE)
     ORDER BY priority DESC, seq
     LIMIT 1
       FOR UPDATE SKIP LOCKED
)
UPDATE {jobs}
   SET state = 'running', worker = %(worker)s, lease_id = gen_random_uuid(),
       claims = claims + 1,
       started_at = greatest({now}(), created_at)
 WHERE id = ANY(ARRAY(SELECT id FROM due))
RETURNING id, queue, func, args::text, meta::text, limits::text, state, priority, max_attempts,
          attempts, claims, crashes, unique_key, at_most_once, exclusive, keep_result, worker,
          lease_id, cancelling, created_at, scheduled_at, started_at, errors::text, seq
