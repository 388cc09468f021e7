-- A page of jobs, live and finished, the newest first: those before an id that a filter lets pass.
SELECT id, queue, func, args::text, meta::text, limits::text, state, priority, max_attempts,
       attempts, claims, crashes, unique_key, at_most_once, exclusive, keep_result, worker,
       lease_id, cancelling, created_at, scheduled_at, started_at, errors::text, finished_at,
       result::text
  FROM {jobs_v1}
 WHERE id < %(before)s
   AND true /* it passes */
 ORDER BY id DESC
 LIMIT %(limit)s
