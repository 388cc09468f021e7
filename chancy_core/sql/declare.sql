-- Store a queue's settings, and answer what is stored. An existing queue stays as it is unless
-- `upsert`; its state and the time of its resuming change only if a state is given. The update
-- that changes nothing is what makes the row visible to RETURNING.
INSERT INTO {queues} AS q (name, concurrency, tags, executor, executor_options, polling_interval,
                           state, resume_at, rate_limit, rate_limit_window, eager_polling)
VALUES (%(name)s, %(concurrency)s, %(tags)s, %(executor)s, %(executor_options)s::jsonb,
        %(polling_interval)s, coalesce(%(state)s, 'active'), %(resume_at)s, %(rate_limit)s,
        %(rate_limit_window)s, %(eager_polling)s)
ON CONFLICT (name) DO UPDATE
   SET (concurrency, tags, executor, executor_options, polling_interval, rate_limit,
        rate_limit_window, eager_polling, state, resume_at, updated_at)
     = (SELECT new.concurrency, new.tags, new.executor, new.executor_options,
               new.polling_interval, new.rate_limit, new.rate_limit_window, new.eager_polling,
               CASE WHEN %(state)s::text IS NULL THEN q.state ELSE new.state END,
               CASE WHEN %(state)s::text IS NULL THEN q.resume_at ELSE new.resume_at END,
               {now}()
          FROM (SELECT excluded.*) AS new
         WHERE %(upsert)s
         UNION ALL
        SELECT q.concurrency, q.tags, q.executor, q.executor_options, q.polling_interval,
               q.rate_limit, q.rate_limit_window, q.eager_polling, q.state, q.resume_at,
               q.updated_at
         WHERE NOT %(upsert)s)
RETURNING name, concurrency, tags, executor, executor_options::text, polling_interval,
          CASE WHEN resume_at <= {now}() THEN 'active' ELSE state END,
          CASE WHEN resume_at > {now}() THEN resume_at END,
          rate_limit, rate_limit_window, eager_polling,
          extract(epoch FROM resume_at - {now}())::float8
