-- Pause a queue (for good, until an instant, or for `seconds`) or make it active again.
-- Answers its name if there is such a queue.
UPDATE {queues}
   SET state = %(state)s, updated_at = {now}(),
       resume_at = coalesce(%(resume_at)s::timestamptz,
                            {now}() + %(seconds)s::float8 * interval '1 second')
 WHERE name = %(name)s
RETURNING name
