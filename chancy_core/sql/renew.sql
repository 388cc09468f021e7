-- Renew a worker's lease. No row means that the worker was declared dead: all it holds is lost.
-- Answers whether `bury` would find somebody. It reads no jobs, so that nothing that befalls their
-- table, a lock or a bad plan, can hold up a renewal.
UPDATE {workers}
   SET expires_at = {now}() + %(lease)s * interval '1 second',
       clock_offset = %(clock)s::float8 - extract(epoch FROM {now}())::float8,
       running = %(running)s::jsonb,  -- null, while nobody watches
       faults = CASE WHEN %(faults)s::text IS NULL THEN faults  -- there is nothing new
                     ELSE jsonb_build_object('at', {now}(), 'told', %(faults)s::jsonb) END
 WHERE id = %(id)s AND NOT dead
RETURNING EXISTS (SELECT FROM {workers} AS late
                   WHERE late.expires_at < {now}()
                     AND (NOT late.dead OR late.expires_at < {now}() - interval '1 day'))
