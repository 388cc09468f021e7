-- Delete jobs that are not running, live or finished. Answers the ids deleted. A job that is moved at
-- this moment is not among them, since this statement's snapshot is older: the caller asks again.
-- Locks as a retry does: the history first, each table by id, so that no two wait crosswise.
WITH ended AS MATERIALIZED (
    SELECT id FROM {history}
     WHERE id = ANY(ARRAY(SELECT unnest(%(ids)s::uuid[]))) AND finished_at >= %(since)s
     ORDER BY id
       FOR UPDATE
), finished AS (
    DELETE FROM {history}
     WHERE id = ANY(ARRAY(SELECT id FROM ended)) AND finished_at >= %(since)s
    RETURNING id
), target AS MATERIALIZED (
    SELECT id FROM {jobs} WHERE id = ANY(ARRAY(SELECT unnest(%(ids)s::uuid[]))) ORDER BY id FOR UPDATE
), waiting AS (
    DELETE FROM {jobs} WHERE id = ANY(ARRAY(SELECT id FROM target)) AND state <> 'running'
    RETURNING id
)
SELECT id FROM finished UNION ALL SELECT id FROM waiting
