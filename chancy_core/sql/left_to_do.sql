-- Whether anything is due in these queues, or runs on the worker of this name in this process.
-- Each part asks for the first by an index: a plan must not depend on how many there are.
SELECT EXISTS (SELECT FROM unnest(%(queues)s::text[]) AS asked (queue)
                CROSS JOIN LATERAL (SELECT id FROM {jobs}
                                     WHERE state = 'pending' AND crashes = 0
                                       AND queue = asked.queue
                                     ORDER BY priority DESC, seq LIMIT 1) AS found)
    OR EXISTS (SELECT FROM unnest(%(queues)s::text[]) AS asked (queue)
                CROSS JOIN LATERAL (SELECT id FROM {jobs}
                                     WHERE state = 'pending' AND crashes > 0
                                       AND queue = asked.queue
                                     ORDER BY priority DESC, seq LIMIT 1) AS found)
    OR EXISTS (SELECT FROM (SELECT id FROM {jobs}
                             WHERE state = 'scheduled' AND scheduled_at <= {now}()
                               AND queue = ANY(%(queues)s::text[])
                             ORDER BY scheduled_at LIMIT 1) AS found)
    OR EXISTS (SELECT FROM {jobs}
                WHERE state = 'running'
                  AND worker = ANY(ARRAY(SELECT id FROM {workers}
                                          WHERE name = %(name)s AND pid = %(pid)s AND NOT dead)))
