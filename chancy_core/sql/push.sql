-- Store jobs: those whose unique key a live job holds are left out. Answers the ids stored.
-- Rows go in by unique key, so that two producers with the same keys never wait crosswise.
INSERT INTO {jobs} (id, queue, func, args, meta, limits, state, priority, max_attempts,
                    unique_key, scheduled_at)
SELECT id, queue, func, args::jsonb, meta::jsonb, limits::jsonb,
       CASE WHEN scheduled_at > {now}() THEN 'scheduled' ELSE 'pending' END,
       priority, max_attempts, unique_key, coalesce(scheduled_at, {now}())
  FROM unnest(%(id)s::uuid[], %(queue)s::text[], %(func)s::text[], %(args)s::text[],
              %(meta)s::text[], %(limits)s::text[], %(priority)s::smallint[],
              %(max_attempts)s::smallint[], %(unique_key)s::text[],
              %(scheduled_at)s::timestamptz[])
       WITH ORDINALITY
    AS job (id, queue, func, args, meta, limits, priority, max_attempts, unique_key,
            scheduled_at, n)
 ORDER BY unique_key NULLS FIRST, n
ON CONFLICT DO NOTHING
RETURNING id
