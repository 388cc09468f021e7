-- Of the jobs of a worker: those that somebody wants cancelled and, if `thorough`, rows that are marked
-- as its own under leases that it does not know. Answers (id, lease_id, cancelling).
-- For the latter all entries of the index of its running jobs are walked, those that are dead as well.
SELECT id, lease_id, cancelling FROM {jobs}
 WHERE id = ANY(%(ids)s::uuid[]) AND lease_id = ANY(%(leases)s::uuid[])
   AND worker = %(worker)s AND cancelling
UNION ALL
SELECT id, lease_id, cancelling FROM {jobs}
 WHERE %(thorough)s AND state = 'running' AND worker = %(worker)s
   AND NOT lease_id = ANY(%(leases)s::uuid[])
