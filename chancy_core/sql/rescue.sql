-- Take back the jobs of workers that are dead or have no row: each is charged a crash, and
-- quarantined at the limit. Runs in the transaction of `bury`, after it. Answers (id, state).
WITH orphan AS MATERIALIZED (
    SELECT job.id FROM {jobs} AS job
     WHERE job.state = 'running'
       AND NOT EXISTS (SELECT FROM {workers} AS w WHERE w.id = job.worker AND NOT w.dead)
     ORDER BY job.id
     LIMIT 500
       FOR UPDATE SKIP LOCKED
), again AS (
    UPDATE {jobs}
       SET state = 'pending', crashes = crashes + 1,
           worker = NULL, lease_id = NULL, started_at = NULL
     WHERE id = ANY(ARRAY(SELECT id FROM orphan)) AND crashes + 1 < %(crash_limit)s
    RETURNING id
), gone AS (
    DELETE FROM {jobs}
     WHERE id = ANY(ARRAY(SELECT id FROM orphan)) AND crashes + 1 >= %(crash_limit)s
    RETURNING *
), quarantined AS (
    INSERT INTO {history} (id, queue, func, args, meta, limits, state, priority, max_attempts,
                           attempts, claims, crashes, unique_key, worker, lease_id, created_at,
                           scheduled_at, started_at, finished_at, errors)
    SELECT id, queue, func, args, meta, limits, 'quarantined', priority, max_attempts,
           attempts, claims, crashes + 1, unique_key, worker, lease_id, created_at,
           scheduled_at, started_at, {now}(), errors
      FROM gone
    RETURNING id
)
SELECT id, 'pending' FROM again UNION ALL SELECT id, 'quarantined' FROM quarantined
