-- Give jobs back: to be tried again, or not begun at all; `delay` seconds from now.
-- Fenced by the lease like an outcome; answers the ids that it counted for. A job that somebody
-- wants cancelled is left out: it is finished instead.
WITH outcome AS MATERIALIZED (
    SELECT * FROM unnest(%(ids)s::uuid[], %(leases)s::uuid[], %(delays)s::float8[],
                         %(counted)s::int[], %(metas)s::text[], %(errors)s::text[])
               AS o (id, lease_id, delay, counted, meta, error)
), held AS MATERIALIZED (
    SELECT id FROM {jobs} WHERE id = ANY(ARRAY(SELECT id FROM outcome)) ORDER BY id FOR UPDATE
)
UPDATE {jobs} AS job
   SET state = CASE WHEN delay > 0 THEN 'scheduled' ELSE 'pending' END,
       scheduled_at = CASE WHEN delay > 0 THEN {now}() + delay * interval '1 second'
                           ELSE job.scheduled_at END,
       attempts = attempts + counted,
       meta = coalesce(outcome.meta::jsonb, job.meta),
       worker = NULL, lease_id = NULL, started_at = NULL,
       errors = CASE WHEN error IS NULL THEN errors
                     ELSE coalesce(errors, '[]') || error::jsonb END
  FROM outcome
 WHERE job.id = ANY(ARRAY(SELECT id FROM held))
   AND job.id = outcome.id AND job.lease_id = outcome.lease_id AND NOT job.cancelling
RETURNING job.id
