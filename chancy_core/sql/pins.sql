-- What has kept dead rows from being removed for longer than `seconds`: open transactions, those
-- prepared for a commit in two phases, and replication slots. Answers (what, who, seconds).
SELECT 'transaction',
       format('pid %%s, user %%s, application %%s, %%s', pid, usename, application_name, state),
       extract(epoch FROM clock_timestamp() - xact_start)::float8
  FROM pg_stat_activity
 WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
   AND datname = current_database() AND pid <> pg_backend_pid()
   AND backend_type <> 'autovacuum worker'
   AND xact_start < clock_timestamp() - %(seconds)s * interval '1 second'
UNION ALL
SELECT 'prepared transaction', format('%%s, user %%s', gid, owner),
       extract(epoch FROM clock_timestamp() - prepared)::float8
  FROM pg_prepared_xacts
 WHERE database = current_database()
   AND prepared < clock_timestamp() - %(seconds)s * interval '1 second'
UNION ALL
SELECT 'replication slot', format('%%s, which nobody reads', slot_name), NULL
  FROM pg_replication_slots WHERE NOT active AND (xmin IS NOT NULL OR restart_lsn IS NOT NULL)
UNION ALL
SELECT 'replication slot', format('%%s, %%s transactions behind', slot_name, age(xmin)), NULL
  FROM pg_replication_slots WHERE active AND age(xmin) > 1000000
