-- Renew a worker's lease. No row means that the worker was declared dead: all it holds is lost.
UPDATE {workers}
   SET expires_at = {now}() + %(lease)s * interval '1 second',
       clock_offset = %(clock)s::float8 - extract(epoch FROM {now}())::float8
 WHERE id = %(id)s AND NOT dead
RETURNING id
