-- Store a queue's settings, and answer what is stored. An existing queue stays as it is unless
-- `upsert`; the update that changes nothing is what makes the row visible to RETURNING.
INSERT INTO {queues} AS q (name, concurrency, tags, executor, executor_options, polling_interval)
VALUES (%(name)s, %(concurrency)s, %(tags)s, %(executor)s, %(executor_options)s::jsonb,
        %(polling_interval)s)
ON CONFLICT (name) DO UPDATE
   SET concurrency = CASE WHEN %(upsert)s THEN excluded.concurrency ELSE q.concurrency END,
       tags = CASE WHEN %(upsert)s THEN excluded.tags ELSE q.tags END,
       executor = CASE WHEN %(upsert)s THEN excluded.executor ELSE q.executor END,
       executor_options = CASE WHEN %(upsert)s THEN excluded.executor_options
                               ELSE q.executor_options END,
       polling_interval = CASE WHEN %(upsert)s THEN excluded.polling_interval
                               ELSE q.polling_interval END,
       updated_at = CASE WHEN %(upsert)s THEN {now}() ELSE q.updated_at END
RETURNING name, concurrency, tags, executor, executor_options::text, polling_interval
