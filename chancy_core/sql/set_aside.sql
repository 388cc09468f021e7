-- What was given up because of its workers' deaths: how many jobs of each queue, and since when.
SELECT queue, state, count(*), min(finished_at) FROM {history}
 WHERE state IN ('quarantined', 'lost') GROUP BY queue, state ORDER BY queue, state
