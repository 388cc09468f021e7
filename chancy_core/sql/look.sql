-- What a worker looks at unasked: all queues, as `queues` has them, then whether jobs wait in those
-- of `dry`, and the seconds until the next job is due: 0 or less if one is, none if none is scheduled.
-- It asks for one job of each by the indexes of `claim`, whatever the statistics say.
SELECT name, concurrency, tags, executor, executor_options::text, polling_interval,
       CASE WHEN resume_at <= {now}() THEN 'active' ELSE state END,
       CASE WHEN resume_at > {now}() THEN resume_at END,
       rate_limit, rate_limit_window, eager_polling,
       extract(epoch FROM resume_at - {now}())::float8,
       CASE WHEN name = ANY(%(dry)s::text[]) THEN coalesce(
           (SELECT true FROM {jobs}
             WHERE state = 'pending' AND crashes = 0 AND queue = q.name
             ORDER BY priority DESC, seq LIMIT 1),
           (SELECT true FROM {jobs}
             WHERE state = 'pending' AND crashes > 0 AND queue = q.name
             ORDER BY priority DESC, seq LIMIT 1),
           false)
       ELSE false END,
       (SELECT extract(epoch FROM scheduled_at - {now}())::float8 FROM {jobs}
         WHERE state = 'scheduled' ORDER BY scheduled_at LIMIT 1)
  FROM {queues} AS q
 ORDER BY name
