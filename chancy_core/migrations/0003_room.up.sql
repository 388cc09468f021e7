-- Keep the table of live jobs from ever being a small one: as long as it has few pages, PostgreSQL plans
-- to read all of it, and a prepared statement keeps its plan when a million jobs come.
-- chancy: oldest 1

-- Pages that are there once stay: VACUUM would give them back, under a lock that all jobs wait for.
ALTER TABLE {jobs} SET (vacuum_truncate = false);

-- Some 250 pages, whose rows nobody gets to see.
INSERT INTO {jobs} (id, seq, queue, func, args, meta, state, priority, max_attempts, scheduled_at)
SELECT gen_random_uuid(), 0, '', repeat('room', 450), '{}', '{}', 'scheduled', 0, 1, '9999-01-01Z'
  FROM generate_series(1, 750);
DELETE FROM {jobs}
 WHERE state = 'scheduled' AND scheduled_at = '9999-01-01Z' AND func = repeat('room', 450);
