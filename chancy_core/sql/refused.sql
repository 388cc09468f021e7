-- Jobs that were last refused, by a worker that does not know their function, or not in their version:
-- up to 1,000 of those that are offered again within two minutes, and as many of those that wait. Of
-- each, what was said last, and the ends of the last eight refusals, which name the workers.
WITH refused AS MATERIALIZED (
    (SELECT queue, func, meta, created_at, errors FROM {jobs_v1}
      WHERE state = 'scheduled' AND scheduled_at <= {now}() + interval '2 minutes'
        AND errors -> -1 ->> 'kind' = 'unknown-function'
      ORDER BY scheduled_at
      LIMIT 1000)
    UNION ALL
    (SELECT queue, func, meta, created_at, errors FROM {jobs_v1}
      WHERE state = 'pending' AND errors -> -1 ->> 'kind' = 'unknown-function'
      LIMIT 1000)
)
SELECT queue, func, meta ->> 'arguments_version', created_at, jsonb_array_length(errors),
       left(errors -> -1 ->> 'message', 500),
       ARRAY(SELECT right(one ->> 'message', 500)
               FROM jsonb_path_query(errors, '$[last - 7 to last]') AS e (one)
              WHERE one ->> 'kind' = 'unknown-function')
  FROM refused
