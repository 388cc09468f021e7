-- Hint to all workers that these queues have work. A hint only: nobody trusts it.
SELECT pg_notify(%(channel)s, payload) FROM unnest(%(payloads)s::text[]) AS payload
