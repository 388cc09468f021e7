-- Lock the rate of a queue for this transaction, and answer how many jobs it may begin now, and in
-- how many seconds the next one (generic cell rate algorithm; a tenth of the limit may come at once).
-- No row: there is no such queue, or it has no rate limit. A limit that was changed begins anew.
-- No count is further ahead than a whole window, whatever the clock or somebody's hand has done.
INSERT INTO {rates} AS r (queue, tat, rate_limit, rate_limit_window)
SELECT name, {now}(), rate_limit, rate_limit_window
  FROM {queues} WHERE name = %(queue)s AND rate_limit IS NOT NULL
ON CONFLICT (queue) DO UPDATE
   SET tat = CASE WHEN (r.rate_limit, r.rate_limit_window)
                       = (excluded.rate_limit, excluded.rate_limit_window)
                  THEN least(greatest(r.tat, {now}()),
                             {now}() + r.rate_limit_window * interval '1 second')
                  ELSE {now}() END,
       rate_limit = excluded.rate_limit, rate_limit_window = excluded.rate_limit_window
RETURNING greatest(0, floor(ceil(rate_limit / 10.0) + 1e-6
                            - extract(epoch FROM tat - {now}())::float8
                              * rate_limit / rate_limit_window))::int,
          greatest(0, extract(epoch FROM tat - {now}())::float8
                      - (ceil(rate_limit / 10.0) - 1) * rate_limit_window / rate_limit)::float8
