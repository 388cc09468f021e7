-- The schema itself stays: it may be older than we are.
DROP VIEW {jobs_v1};
DROP FUNCTION {ensure_partitions}(integer);
DROP TABLE {history};
DROP TABLE {jobs};
DROP TABLE {workers};
DROP TABLE {rates};
DROP TABLE {queues};
DROP FUNCTION {now}();
