-- What each worker runs, in its own row, for as long as somebody watches.
-- chancy: oldest 1

-- May be null, and is while nobody watches. Not indexed, so that renewing a lease stays a HOT update.
ALTER TABLE {workers}
    ADD COLUMN running jsonb;
