-- Whether jobs run in the name of a worker that is dead or has no row: `rescue` takes them back.
-- Goes from owner to owner by the index, however many jobs each has.
WITH RECURSIVE owner (id) AS (
    (SELECT worker FROM {jobs} WHERE state = 'running' ORDER BY worker LIMIT 1)
     UNION ALL
    SELECT (SELECT worker FROM {jobs}
             WHERE state = 'running' AND worker > owner.id ORDER BY worker LIMIT 1)
      FROM owner
     WHERE owner.id IS NOT NULL
)
SELECT EXISTS (
    SELECT FROM owner
     WHERE id IS NOT NULL
       AND NOT EXISTS (SELECT FROM {workers} AS w WHERE w.id = owner.id AND NOT w.dead)
)
