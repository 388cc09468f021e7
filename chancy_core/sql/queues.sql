-- All queues, by name.
SELECT name, concurrency, tags, executor, executor_options::text, polling_interval
  FROM {queues} ORDER BY name
