-- How many jobs of each queue are due and wait, and since when.
SELECT queue, count(*), min(scheduled_at) FROM {jobs}
 WHERE state = 'pending' OR state = 'scheduled' AND scheduled_at <= {now}()
 GROUP BY queue ORDER BY queue
