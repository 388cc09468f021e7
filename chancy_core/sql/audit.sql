-- What a worker has to look after: rows marked as its own under leases that it does not know, and
-- those that somebody wants cancelled. Answers (id, lease_id, cancelling).
SELECT id, lease_id, cancelling FROM {jobs}
 WHERE state = 'running' AND worker = %(worker)s
   AND (cancelling OR NOT lease_id = ANY(%(known)s::uuid[]))
