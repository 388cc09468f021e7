-- After a settle in doubt: which of these outcomes, by job and lease, are in the history already.
SELECT id FROM {history}
 WHERE id = ANY(ARRAY(SELECT unnest(%(ids)s::uuid[]))) AND lease_id = ANY(%(leases)s::uuid[])
   AND finished_at >= %(since)s
