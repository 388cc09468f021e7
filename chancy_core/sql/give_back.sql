-- Give back every job that a stopping worker still holds, uncounted.
UPDATE {jobs}
   SET state = 'pending', worker = NULL, lease_id = NULL, started_at = NULL
 WHERE state = 'running' AND worker = %(worker)s
RETURNING id
