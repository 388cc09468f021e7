-- All indexes on tables whose names begin with the prefix, and how each is made; `building` says
-- that somebody is at work on it.
SELECT substr(t.relname, length(%(prefix)s) + 1), i.relname,
       CASE WHEN x.indisprimary THEN 'primary' WHEN x.indisunique THEN 'unique' ELSE '' END,
       substring(pg_get_indexdef(i.oid) FROM ' USING (.*)$'),
       x.indisvalid AND x.indisready,
       EXISTS (SELECT FROM pg_stat_progress_create_index AS p WHERE p.index_relid = i.oid)
  FROM pg_index AS x
  JOIN pg_class AS i ON i.oid = x.indexrelid
  JOIN pg_class AS t ON t.oid = x.indrelid
  JOIN pg_namespace AS n ON n.oid = t.relnamespace
 WHERE n.nspname = %(schema)s AND starts_with(t.relname, %(prefix)s)
 ORDER BY t.relname, i.relname
