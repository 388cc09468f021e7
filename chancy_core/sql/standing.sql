-- How the server stands to us: what it may lose, what it takes, and what we may see of it.
SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
       current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
       current_setting('synchronous_commit') <> 'off',
       current_setting('max_connections')::integer,
       (SELECT sum(numbackends) FROM pg_stat_database)::integer,
       CASE WHEN pg_is_in_recovery() THEN 0 ELSE pg_notification_queue_usage() END,
       pg_has_role('pg_read_all_stats', 'USAGE')
