-- Where jobs stand, live or finished. Answers (id, state).
SELECT id, state FROM {jobs_v1}
 WHERE id = ANY(ARRAY(SELECT unnest(%(ids)s::uuid[])))
   AND (finished_at IS NULL OR finished_at >= %(since)s)
