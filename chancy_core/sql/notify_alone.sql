-- Hint as `notify` does, in a transaction of its own, which stores nothing: so nobody, and least of
-- all the worker that is told, waits for the disk. Never in a transaction of somebody else's.
SELECT pg_notify(channel, payload), set_config('synchronous_commit', 'off', true)
  FROM unnest(%(channels)s::text[], %(payloads)s::text[]) AS hint (channel, payload)
