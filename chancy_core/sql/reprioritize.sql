-- Give jobs that wait another priority: one that is told, or their own and so much more. What is added
-- leads to `most` at most, and lowers none that had more. Answers (id, priority). A job that is moved at
-- this moment is not among them, since this statement's snapshot is older: the caller asks again.
-- Who does not wait leaves out what others have locked.
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest(%(ids)s::uuid[], %(more)s::int[]) AS a (id, more)
), target AS MATERIALIZED (
    SELECT id FROM {jobs}
     WHERE %(wait)s::boolean AND id = ANY(ARRAY(SELECT id FROM asked)) AND state <> 'running'
     ORDER BY id
       FOR UPDATE
), free AS MATERIALIZED (
    SELECT id FROM {jobs}
     WHERE NOT %(wait)s::boolean AND id = ANY(ARRAY(SELECT id FROM asked)) AND state <> 'running'
     ORDER BY id
       FOR UPDATE SKIP LOCKED
)
UPDATE {jobs} AS job
   SET priority = coalesce(
           %(priority)s::int,
           greatest(least(job.priority + asked.more, %(most)s::int),
                    least(job.priority, job.priority + asked.more), -32768))
  FROM asked
 WHERE job.id = ANY(ARRAY(SELECT id FROM target UNION ALL SELECT id FROM free))
   AND job.id = asked.id AND job.state <> 'running'
RETURNING job.id, job.priority
