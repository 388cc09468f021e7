-- Take back the jobs of workers that are dead or have no row: each is charged a crash, but not those
-- of the queues `remote`, which go on where they run. Those at the limit are quarantined, those that
-- may be begun only once are lost, those that somebody wanted cancelled are. Runs in the transaction
-- of `bury`, after it. Answers (id, queue, state).
-- If not `thorough`, those without a row are left out: all entries of the index of running jobs are
-- walked to find them, those that are dead as well.
-- Only the leases that it saw are taken: a job may have gone to a worker that came after that. What
-- ends here is in the history without its lease, by which a holder recognises what it wrote itself.
WITH dead AS MATERIALIZED (
    SELECT job.id, job.lease_id FROM {jobs} AS job
     WHERE job.state = 'running'
       AND (%(thorough)s OR job.worker = ANY(ARRAY(SELECT id FROM {workers} AS w WHERE w.dead)))
       AND NOT EXISTS (SELECT FROM {workers} AS w WHERE w.id = job.worker AND NOT w.dead)
     ORDER BY job.id
     LIMIT 4 * %(at_once)s  -- more than are taken: others may have locked some
), orphan AS MATERIALIZED (
    SELECT job.id, job.at_most_once OR job.cancelling
           OR job.crashes + 1 >= %(crash_limit)s AND job.queue <> ALL(%(remote)s::text[]) AS over
      FROM {jobs} AS job
     WHERE job.id = ANY(ARRAY(SELECT id FROM dead))
       AND job.lease_id = ANY(ARRAY(SELECT lease_id FROM dead))
     ORDER BY job.id
     LIMIT %(at_once)s
       FOR UPDATE SKIP LOCKED
), again AS (
    UPDATE {jobs}
       SET state = 'pending', crashes = crashes + (queue <> ALL(%(remote)s::text[]))::int,
           worker = NULL, lease_id = NULL, started_at = NULL
     WHERE id = ANY(ARRAY(SELECT id FROM orphan WHERE NOT over))
    RETURNING id, queue
), gone AS (
    DELETE FROM {jobs}
     WHERE id = ANY(ARRAY(SELECT id FROM orphan WHERE over))
    RETURNING *
), ended AS (
    INSERT INTO {history} (id, queue, func, args, meta, limits, state, priority, max_attempts,
                           attempts, claims, crashes, unique_key, at_most_once, exclusive,
                           keep_result, worker, lease_id, created_at, scheduled_at, started_at,
                           finished_at, errors)
    SELECT id, queue, func, args, meta, limits,
           CASE WHEN at_most_once THEN 'lost' WHEN cancelling THEN 'cancelled'
                ELSE 'quarantined' END,
           priority, max_attempts, attempts, claims,
           crashes + (queue <> ALL(%(remote)s::text[]))::int, unique_key, at_most_once, exclusive,
           keep_result, worker, NULL, created_at, scheduled_at, started_at,
           least(greatest({now}(), started_at), {now}() + interval '1 day'), errors
      FROM gone
    RETURNING id, queue, state
)
SELECT id, queue, 'pending' FROM again UNION ALL SELECT id, queue, state FROM ended
