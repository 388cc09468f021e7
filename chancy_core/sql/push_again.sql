-- Repeat a push whose commit was cut: of its ids, answer those that are live or in the history.
SELECT id FROM {jobs} WHERE id = ANY(ARRAY(SELECT unnest(%(ids)s::uuid[])))
UNION
SELECT id FROM {history} WHERE id = ANY(ARRAY(SELECT unnest(%(ids)s::uuid[]))) AND finished_at >= %(since)s
