-- Make the history's partitions for the coming days; answers how many were missing.
SELECT {ensure_partitions}(%(days)s)
