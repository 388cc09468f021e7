-- Store jobs: those whose unique key a live job holds are left out. Answers the ids stored.
-- Rows go in by unique key, so that two producers with the same keys never wait crosswise; their
-- places in line are drawn before that, in the order in which they were given.
INSERT INTO {jobs} (id, seq, queue, func, args, meta, limits, state, priority, max_attempts,
                    unique_key, scheduled_at, at_most_once, exclusive, keep_result)
SELECT id, seq, queue, func, args::jsonb, meta::jsonb, limits::jsonb,
       CASE WHEN scheduled_at > {now}() THEN 'scheduled' ELSE 'pending' END,
       priority, max_attempts, unique_key, coalesce(scheduled_at, {now}()),
       at_most_once, exclusive, keep_result
  FROM (SELECT *, nextval((SELECT pg_get_serial_sequence('{jobs}', 'seq')::regclass)) AS seq
          FROM unnest(%(id)s::uuid[], %(queue)s::text[], %(func)s::text[], %(args)s::text[],
                      %(meta)s::text[], %(limits)s::text[], %(priority)s::smallint[],
                      %(max_attempts)s::smallint[], %(unique_key)s::text[],
                      %(scheduled_at)s::timestamptz[], %(at_most_once)s::boolean[],
                      %(exclusive)s::boolean[], %(keep_result)s::boolean[])
            AS given (id, queue, func, args, meta, limits, priority, max_attempts, unique_key,
                      scheduled_at, at_most_once, exclusive, keep_result)) AS job
 ORDER BY unique_key NULLS FIRST
ON CONFLICT DO NOTHING
RETURNING id
