-- For which days, of today and tomorrow, the history has no partition.
SELECT day::date::text
  FROM generate_series({now}() AT TIME ZONE 'UTC', {now}() AT TIME ZONE 'UTC' + interval '1 day',
                       interval '1 day') AS day
 WHERE NOT EXISTS (SELECT FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
                    WHERE i.inhparent = '{history}'::regclass
                      AND c.relname = %(prefix)s || 'history' || to_char(day, '_YYYYMMDD'))
 ORDER BY 1
