-- Jobs by id, live or finished. A job's history is read from the time that its id was made on.
SELECT id, queue, func, args::text, meta::text, limits::text, state, priority, max_attempts,
       attempts, claims, crashes, unique_key, at_most_once, exclusive, keep_result, worker,
       lease_id, cancelling, created_at, scheduled_at, started_at, errors::text, finished_at,
       result::text
  FROM {jobs_v1}
 WHERE id = ANY(ARRAY(SELECT unnest(%(ids)s::uuid[])))
   AND (finished_at IS NULL OR finished_at >= %(since)s)
