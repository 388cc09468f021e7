-- Delete jobs that are not running, live or finished. Answers the ids deleted.
WITH target AS MATERIALIZED (
    SELECT id FROM {jobs} WHERE id = ANY(ARRAY(SELECT unnest(%(ids)s::uuid[]))) ORDER BY id FOR UPDATE
), waiting AS (
    DELETE FROM {jobs} WHERE id = ANY(ARRAY(SELECT id FROM target)) AND state <> 'running'
    RETURNING id
), finished AS (
    DELETE FROM {history}
     WHERE id = ANY(ARRAY(SELECT unnest(%(ids)s::uuid[]))) AND finished_at >= %(since)s
    RETURNING id
)
SELECT id FROM waiting UNION ALL SELECT id FROM finished
