-- Bring finished jobs back: counters at zero, errors kept, a new place in line. One whose unique
-- key a live job holds by now stays where it is. Answers (id, queue) of those brought back.
WITH picked AS MATERIALIZED (
    SELECT * FROM {history}
     WHERE id = ANY(ARRAY(SELECT unnest(%(ids)s::uuid[]))) AND finished_at >= %(since)s
     ORDER BY unique_key NULLS FIRST, id
       FOR UPDATE
), back AS (
    INSERT INTO {jobs} (id, queue, func, args, meta, limits, state, priority, max_attempts,
                        unique_key, at_most_once, exclusive, keep_result, created_at,
                        scheduled_at, errors)
    SELECT id, queue, func, args, meta, limits, 'pending', priority, max_attempts,
           unique_key, at_most_once, exclusive, keep_result, created_at, {now}(), errors
      FROM picked
    ON CONFLICT DO NOTHING
    RETURNING id, queue
), gone AS (
    DELETE FROM {history}
     WHERE id = ANY(ARRAY(SELECT id FROM back)) AND finished_at >= %(since)s
)
SELECT id, queue FROM back
