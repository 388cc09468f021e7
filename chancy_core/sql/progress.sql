-- Write how far running jobs have come, into their meta; answers the leases that it counted for. Who
-- is settled, or locked by who settles it, is passed over: its outcome brings its last progress along.
WITH told AS MATERIALIZED (
    SELECT * FROM unnest(%(ids)s::uuid[], %(leases)s::uuid[], %(progress)s::text[])
               AS t (id, lease_id, progress)
), held AS MATERIALIZED (
    SELECT id FROM {jobs}
     WHERE id = ANY(ARRAY(SELECT id FROM told))
     ORDER BY id
       FOR UPDATE SKIP LOCKED
)
UPDATE {jobs} AS job
   SET meta = job.meta || jsonb_build_object('progress', told.progress::jsonb)
  FROM told
 WHERE job.id = ANY(ARRAY(SELECT id FROM held))
   AND job.id = told.id AND job.lease_id = told.lease_id
RETURNING job.id
