-- Claim up to `free` due jobs of each queue for a worker, each under a fresh lease, and up to `ahead`
-- more, which will wait for a slot: none that must begin at once, or not at all, if its worker dies.
-- A worker that was declared dead, or has no row, gets none; neither does a queue that is paused,
-- gone, or under a rate limit (`limited` asks for those that are, behind their gate).
-- A suspect (its worker died) goes first, but one alone, and none if `suspect` is false.
-- No two workers get the same job: rows that another is claiming are passed over. The ids go
-- through an array, so that no plan, whatever the statistics say, can claim more than asked.
-- A line is walked by ranges of its priorities, `firsts` to `lasts`, each from a `seq` on. Those that
-- are not needed are not read, and no row is locked that is not claimed, but for those passed over.
-- A lease is a hash of the job's id and of a number that is drawn at random once: drawing one for
-- each job took a quarter of a claim's time.
WITH want AS MATERIALIZED (
    SELECT asked.*
      FROM unnest(%(queues)s::text[], %(free)s::int[], %(ahead)s::int[], %(firsts)s::int[],
                  %(lasts)s::int[]) AS asked (queue, free, ahead, first, last)
      JOIN {queues} AS q ON q.name = asked.queue
     WHERE asked.free + asked.ahead > 0
       AND (q.state = 'active' OR q.resume_at <= {now}())
       AND (q.rate_limit IS NOT NULL) = %(limited)s
       AND EXISTS (SELECT FROM {workers} WHERE id = %(worker)s AND NOT dead)
), suspect AS MATERIALIZED (
    SELECT job.id, job.queue
      FROM want
     CROSS JOIN LATERAL (
        SELECT id, queue FROM {jobs}
         WHERE state = 'pending' AND crashes > 0 AND queue = want.queue
         ORDER BY priority DESC, seq
         LIMIT 1
           FOR UPDATE SKIP LOCKED
     ) AS job
     WHERE %(suspect)s AND want.free > 0
     LIMIT 1
), due AS MATERIALIZED (
    SELECT job.id
      FROM want
     CROSS JOIN LATERAL (
        SELECT want.free - count(*) AS free FROM suspect WHERE suspect.queue = want.queue
     ) AS slots
     CROSS JOIN LATERAL (
        SELECT id, alone, row_number() OVER () AS place
          FROM (SELECT next.*
                  FROM generate_series(want.first, want.last) AS range (n)
                 CROSS JOIN LATERAL (
                    SELECT id, at_most_once OR exclusive AS alone FROM {jobs}
                     WHERE state = 'pending' AND crashes = 0 AND queue = want.queue
                       AND priority <= (%(highs)s::smallint[])[n]
                       AND priority >= (%(lows)s::smallint[])[n]
                       AND seq >= (%(seqs)s::bigint[])[n]
                     ORDER BY priority DESC, seq
                     LIMIT slots.free + want.ahead
                       FOR UPDATE SKIP LOCKED
                 ) AS next
                 LIMIT slots.free + want.ahead) AS line
     ) AS job
     WHERE NOT alone OR place <= slots.free
     UNION ALL
    SELECT id FROM suspect
)
UPDATE {jobs}
   SET state = 'running', worker = %(worker)s,
       lease_id = encode(substr(sha256((SELECT uuid_send(gen_random_uuid())) || uuid_send(id)),
                                1, 16), 'hex')::uuid,
       claims = least(claims + 1, 1000000000),  -- what the table allows
       started_at = greatest({now}(), created_at)  -- this transaction may have begun before the push
 WHERE id = ANY(ARRAY(SELECT id FROM due))
RETURNING id, queue, func, args::text, meta::text, limits::text, state, priority, max_attempts,
          attempts, claims, crashes, unique_key, at_most_once, exclusive, keep_result, worker,
          lease_id, cancelling, created_at, scheduled_at, started_at, errors::text, seq
