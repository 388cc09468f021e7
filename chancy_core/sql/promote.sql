-- Move due jobs from `scheduled` to `pending`, at most 1,000 at a time, with a new place in line:
-- who was due first comes first. Answers their queues, and the seconds until the next is due.
WITH due AS MATERIALIZED (
    SELECT id, scheduled_at, seq FROM {jobs}
     WHERE state = 'scheduled' AND scheduled_at <= {now}()
     ORDER BY scheduled_at
     LIMIT 1000
       FOR UPDATE SKIP LOCKED
), placed AS MATERIALIZED (
    SELECT id, nextval((SELECT pg_get_serial_sequence('{jobs}', 'seq')::regclass)) AS seq
      FROM (SELECT id FROM due ORDER BY scheduled_at, seq) AS line
), moved AS (
    UPDATE {jobs} AS job
       SET state = 'pending', seq = placed.seq
      FROM placed
     WHERE job.id = ANY(ARRAY(SELECT id FROM due)) AND job.id = placed.id
    RETURNING job.queue
)
SELECT ARRAY(SELECT DISTINCT queue FROM moved),
       (SELECT extract(epoch FROM min(scheduled_at) - {now}())::float8
          FROM (SELECT scheduled_at FROM {jobs}
                 WHERE state = 'scheduled' AND scheduled_at > {now}()
                 ORDER BY scheduled_at LIMIT 1) AS next)
