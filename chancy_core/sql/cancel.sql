-- Cancel live jobs: those that wait are over at once, a running one is marked for its holder.
-- Answers (id, what was done). A job that is being claimed at this moment is in neither answer,
-- since this statement's snapshot is older: the caller asks again.
WITH target AS MATERIALIZED (
    SELECT id FROM {jobs} WHERE id = ANY(ARRAY(SELECT unnest(%(ids)s::uuid[]))) ORDER BY id FOR UPDATE
), marked AS (
    UPDATE {jobs} SET cancelling = true
     WHERE id = ANY(ARRAY(SELECT id FROM target)) AND state = 'running'
    RETURNING id
), gone AS (
    DELETE FROM {jobs} WHERE id = ANY(ARRAY(SELECT id FROM target)) AND state <> 'running'
    RETURNING *
), ended AS (
    INSERT INTO {history} (id, queue, func, args, meta, limits, state, priority, max_attempts,
                           attempts, claims, crashes, unique_key, at_most_once, exclusive,
                           keep_result, worker, lease_id, created_at, scheduled_at, started_at,
                           finished_at, errors)
    SELECT id, queue, func, args, meta, limits, 'cancelled', priority, max_attempts, attempts,
           claims, crashes, unique_key, at_most_once, exclusive, keep_result, worker, lease_id,
           created_at, scheduled_at, started_at, {now}(), errors
      FROM gone
    RETURNING id
)
SELECT id, 'cancelling' FROM marked UNION ALL SELECT id, 'cancelled' FROM ended
