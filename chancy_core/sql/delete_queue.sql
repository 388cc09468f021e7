-- Delete a queue, and its waiting jobs if `purge`; what runs comes to its end. Answers how many jobs
-- went with it, or no row if there is no such queue.
WITH gone AS (
    DELETE FROM {queues} WHERE name = %(name)s RETURNING name
), rate AS (
    DELETE FROM {rates} WHERE queue = %(name)s
), purged AS (
    DELETE FROM {jobs}
     WHERE %(purge)s AND queue = (SELECT name FROM gone) AND state IN ('pending', 'scheduled')
    RETURNING id
)
SELECT (SELECT count(*) FROM purged)::int FROM gone
