-- Give back, uncounted, what a worker holds: all of it when it leaves, or those `leases` that it
-- does not know. What may have `begun` and may be begun only once is lost; what somebody wanted
-- cancelled is. Answers (id, queue, state). What is wanted is read from the locked row: somebody
-- may have marked it after this statement began. No lease in the history: see `rescue`.
WITH held AS MATERIALIZED (
    SELECT id, %(begun)s AND at_most_once AS lost, cancelling FROM {jobs}
     WHERE state = 'running' AND worker = %(worker)s
       AND (%(leases)s::uuid[] IS NULL OR lease_id = ANY(%(leases)s::uuid[]))
     ORDER BY id
       FOR UPDATE
), again AS (
    UPDATE {jobs}
       SET state = 'pending', worker = NULL, lease_id = NULL, started_at = NULL
     WHERE id = ANY(ARRAY(SELECT id FROM held WHERE NOT lost AND NOT cancelling))
    RETURNING id, queue
), gone AS (
    DELETE FROM {jobs}
     WHERE id = ANY(ARRAY(SELECT id FROM held WHERE lost OR cancelling))
    RETURNING *
), ended AS (
    INSERT INTO {history} (id, queue, func, args, meta, limits, state, priority, max_attempts,
                           attempts, claims, crashes, unique_key, at_most_once, exclusive,
                           keep_result, worker, lease_id, created_at, scheduled_at, started_at,
                           finished_at, errors)
    SELECT id, queue, func, args, meta, limits,
           CASE WHEN %(begun)s AND at_most_once THEN 'lost' ELSE 'cancelled' END,
           priority, max_attempts, attempts, claims, crashes, unique_key, at_most_once, exclusive,
           keep_result, worker, NULL, created_at, scheduled_at, started_at,
           least(greatest({now}(), started_at), {now}() + interval '1 day'), errors
      FROM gone
    RETURNING id, queue, state
)
SELECT id, queue, 'pending' FROM again UNION ALL SELECT id, queue, state FROM ended
