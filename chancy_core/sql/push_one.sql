-- Store one job, unless a live one holds its unique key. Answers its id if it was stored.
-- What `push` does with arrays; these would take as long as all the rest.
INSERT INTO {jobs} (id, queue, func, args, meta, limits, state, priority, max_attempts,
                    unique_key, scheduled_at, at_most_once, exclusive, keep_result)
VALUES (%(id)s, %(queue)s, %(func)s, %(args)s::jsonb, %(meta)s::jsonb, %(limits)s::jsonb,
        CASE WHEN %(scheduled_at)s::timestamptz > {now}() THEN 'scheduled' ELSE 'pending' END,
        %(priority)s, %(max_attempts)s, %(unique_key)s,
        coalesce(%(scheduled_at)s::timestamptz, {now}()),
        %(at_most_once)s, %(exclusive)s, %(keep_result)s)
ON CONFLICT DO NOTHING
RETURNING id
