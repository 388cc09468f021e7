-- Delete a queue, and its waiting jobs if `purge`; what runs comes to its end. Answers how many jobs
-- went with it, or no row if there is no such queue.
WITH gone AS (
    DELETE FROM {queues} WHERE name = %(name)s RETURNING name
), rate AS (
    DELETE FROM {rates} WHERE queue = %(name)s
), target AS MATERIALIZED (
    SELECT id FROM {jobs}
     WHERE %(purge)s AND queue = (SELECT name FROM gone) AND state IN ('pending', 'scheduled')
     ORDER BY id
       FOR UPDATE
), purged AS (
    DELETE FROM {jobs} WHERE id = ANY(ARRAY(SELECT id FROM target)) RETURNING id
)
SELECT (SELECT count(*) FROM purged)::int FROM gone
