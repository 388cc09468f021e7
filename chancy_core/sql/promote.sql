-- Move due jobs from `scheduled` to `pending`, at most 1,000 at a time, with a new place in line.
-- Answers their queues, and the seconds until the next is due.
WITH due AS MATERIALIZED (
    SELECT id FROM {jobs}
     WHERE state = 'scheduled' AND scheduled_at <= {now}()
     ORDER BY scheduled_at
     LIMIT 1000
       FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE {jobs}
       SET state = 'pending',
           seq = nextval(pg_get_serial_sequence('{jobs}', 'seq'))
     WHERE id = ANY(ARRAY(SELECT id FROM due))
    RETURNING queue
)
SELECT ARRAY(SELECT DISTINCT queue FROM moved),
       (SELECT extract(epoch FROM min(scheduled_at) - {now}())::float8
          FROM (SELECT scheduled_at FROM {jobs}
                 WHERE state = 'scheduled' AND scheduled_at > {now}()
                 ORDER BY scheduled_at LIMIT 1) AS next)
