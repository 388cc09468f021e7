-- All queues, by name, or those of `names`. A paused queue whose time has come is active, without
-- anybody's doing; the last column is how many seconds that is away.
SELECT name, concurrency, tags, executor, executor_options::text, polling_interval,
       CASE WHEN resume_at <= {now}() THEN 'active' ELSE state END,
       CASE WHEN resume_at > {now}() THEN resume_at END,
       rate_limit, rate_limit_window, eager_polling,
       extract(epoch FROM resume_at - {now}())::float8
  FROM {queues}
 WHERE %(names)s::text[] IS NULL OR name = ANY(%(names)s::text[])
 ORDER BY name
