-- Hint to whoever listens: to workers that there is something to do, to waiters that it is done.
-- A hint only: nobody trusts it.
SELECT pg_notify(channel, payload) FROM unnest(%(channels)s::text[], %(payloads)s::text[]) AS hint (channel, payload)
