-- Settle a running job in a transaction of the caller's; fenced by its lease. Answers its id.
WITH gone AS (
    DELETE FROM {jobs} WHERE id = %(id)s AND lease_id = %(lease_id)s AND state = 'running'
    RETURNING *
)
INSERT INTO {history} (id, queue, func, args, meta, limits, state, priority, max_attempts,
                       attempts, claims, crashes, unique_key, at_most_once, exclusive,
                       keep_result, worker, lease_id, created_at, scheduled_at, started_at,
                       finished_at, result, errors)
SELECT id, queue, func, args, coalesce(%(meta)s::jsonb, meta), limits, 'succeeded', priority,
       max_attempts, attempts + 1, claims, crashes, unique_key, at_most_once, exclusive,
       keep_result, worker, lease_id, created_at, scheduled_at, started_at,
       least(greatest({now}(), started_at), {now}() + interval '1 day'),
       CASE WHEN keep_result THEN %(result)s::jsonb END, errors
  FROM gone
RETURNING id
