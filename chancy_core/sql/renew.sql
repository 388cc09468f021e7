-- Renew a worker's lease. No row means that the worker was declared dead: all it holds is lost.
UPDATE {workers} SET expires_at = {now}() + %(lease)s * interval '1 second'
 WHERE id = %(id)s AND NOT dead
RETURNING id
