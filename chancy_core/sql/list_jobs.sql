-- A page of jobs, live and finished, the newest first: those before an id that a filter lets pass.
SELECT id, queue, func, args::text, meta::text, limits::text, state, priority, max_attempts,
       attempts, claims, crashes, unique_key, at_most_once, exclusive, keep_result, worker,
       lease_id, cancelling, created_at, scheduled_at, started_at, errors::text, finished_at,
       result::text
  FROM {jobs_v1}
 WHERE id < %(before)s
   AND (%(queue)s::text[] IS NULL OR queue = ANY(%(queue)s::text[]))
   AND (%(func)s::text[] IS NULL OR func = ANY(%(func)s::text[]))
   AND (%(state)s::text[] IS NULL OR state = ANY(%(state)s::text[]))
   AND (%(unique_key)s::text[] IS NULL OR unique_key = ANY(%(unique_key)s::text[]))
   AND (%(retrying)s::boolean IS NULL
        OR (attempts > 0 AND finished_at IS NULL) = %(retrying)s::boolean)
   AND (%(worker)s::uuid IS NULL OR worker = %(worker)s::uuid)
   AND (%(created_after)s::timestamptz IS NULL OR created_at > %(created_after)s::timestamptz)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s::timestamptz)
   AND (%(meta)s::jsonb IS NULL OR meta @> %(meta)s::jsonb)
 ORDER BY id DESC
 LIMIT %(limit)s
