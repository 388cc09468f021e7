-- What has gone wrong with the plugins of each worker, in its own row, for `chancy check`.
-- chancy: oldest 1

-- Null while nothing has. Not indexed, so that renewing a lease stays a HOT update, and written only
-- when it has changed.
ALTER TABLE {workers}
    ADD COLUMN faults jsonb;
