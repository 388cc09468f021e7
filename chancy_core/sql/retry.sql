-- Bring finished jobs back, and those scheduled for later forward: attempts and crashes at zero,
-- claims and errors kept, a new place in line. A finished one whose unique key a live job holds by now
-- stays where it is. Answers (id, queue) of those that are to run now. A job that is moved at this
-- moment is not among them, since this statement's snapshot is older: the caller asks again. Locks the
-- history first, each table by id.
WITH picked AS MATERIALIZED (
    SELECT * FROM {history}
     WHERE id = ANY(ARRAY(SELECT unnest(%(ids)s::uuid[]))) AND finished_at >= %(since)s
     ORDER BY id
       FOR UPDATE
), back AS (
    INSERT INTO {jobs} (id, queue, func, args, meta, limits, state, priority, max_attempts,
                        claims, unique_key, at_most_once, exclusive, keep_result, created_at,
                        scheduled_at, errors)
    SELECT id, queue, func, args, meta, limits, 'pending', priority, max_attempts,
           least(greatest(claims, 0), 1000000000),  -- what the table allows
           unique_key, at_most_once, exclusive, keep_result, created_at, {now}(), errors
      FROM picked
     ORDER BY unique_key NULLS FIRST, id  -- as pushes do
    ON CONFLICT DO NOTHING
    RETURNING id, queue
), gone AS (
    DELETE FROM {history}
     WHERE id = ANY(ARRAY(SELECT id FROM back)) AND finished_at >= %(since)s
), later AS MATERIALIZED (
    SELECT id FROM {jobs}
     WHERE id = ANY(ARRAY(SELECT unnest(%(ids)s::uuid[]))) AND state = 'scheduled'
     ORDER BY id
       FOR UPDATE
), forward AS (
    UPDATE {jobs}
       SET state = 'pending', attempts = 0, crashes = 0, scheduled_at = {now}(),
           seq = nextval(pg_get_serial_sequence('{jobs}', 'seq'))
     WHERE id = ANY(ARRAY(SELECT id FROM later))
    RETURNING id, queue
)
SELECT id, queue FROM back UNION ALL SELECT id, queue FROM forward
