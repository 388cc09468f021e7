-- Settle jobs for good: from the live table into the history, in one statement.
-- An outcome counts only with the lease that is current; answers the ids that it counted for.
WITH outcome AS MATERIALIZED (
    SELECT * FROM unnest(%(ids)s::uuid[], %(leases)s::uuid[], %(states)s::text[],
                         %(counted)s::int[], %(results)s::text[], %(metas)s::text[],
                         %(errors)s::text[])
               AS o (id, lease_id, state, counted, result, meta, error)
), held AS MATERIALIZED (
    SELECT id FROM {jobs} WHERE id = ANY(ARRAY(SELECT id FROM outcome)) ORDER BY id FOR UPDATE
), gone AS (
    DELETE FROM {jobs} AS job
     USING outcome
     WHERE job.id = ANY(ARRAY(SELECT id FROM held))
       AND job.id = outcome.id AND job.lease_id = outcome.lease_id
    RETURNING job.*, outcome.state AS final, outcome.counted, outcome.result,
              coalesce(outcome.meta::jsonb, job.meta) AS last_meta, outcome.error
)
INSERT INTO {history} (id, queue, func, args, meta, limits, state, priority, max_attempts,
                       attempts, claims, crashes, unique_key, at_most_once, exclusive,
                       keep_result, worker, lease_id, created_at, scheduled_at, started_at,
                       finished_at, result, errors)
SELECT id, queue, func, args, last_meta, limits, final, priority, max_attempts,
       attempts + counted, claims, crashes, unique_key, at_most_once, exclusive,
       keep_result, worker, lease_id, created_at, scheduled_at, started_at,
       least(greatest({now}(), started_at), {now}() + interval '1 day'), result::jsonb,
       CASE WHEN error IS NULL THEN errors ELSE coalesce(errors, '[]') || error::jsonb END
  FROM gone
RETURNING id
