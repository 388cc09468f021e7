-- Claim up to `free` due jobs of each queue for a worker, each under a fresh lease.
-- A worker that was declared dead, or has no row, gets none.
-- No two workers get the same job: rows that another is claiming are passed over. The ids go
-- through an array, so that no plan, whatever the statistics say, can claim more than asked.
WITH due AS MATERIALIZED (
    SELECT job.id
      FROM unnest(%(queues)s::text[], %(free)s::int[]) AS want (queue, free)
     CROSS JOIN LATERAL (
        SELECT id FROM {jobs}
         WHERE state = 'pending' AND queue = want.queue
         ORDER BY priority DESC, seq
         LIMIT want.free
           FOR UPDATE SKIP LOCKED
     ) AS job
     WHERE EXISTS (SELECT FROM {workers} WHERE id = %(worker)s AND NOT dead)
)
UPDATE {jobs}
   SET state = 'running', worker = %(worker)s, lease_id = gen_random_uuid(),
       claims = claims + 1,
       started_at = greatest({now}(), created_at)  -- this transaction may have begun before the push
 WHERE id = ANY(ARRAY(SELECT id FROM due))
RETURNING id, queue, func, args::text, meta::text, limits::text, state, priority, max_attempts,
          attempts, claims, crashes, unique_key, worker, lease_id, created_at, scheduled_at,
          started_at, errors::text, seq
