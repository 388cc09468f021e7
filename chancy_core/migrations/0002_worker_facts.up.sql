-- What is compared between workers: their code, the settings they must agree about, their clocks.
-- chancy: oldest 1

-- All may be null: workers of the code before this go on, and write none of it. None is indexed, so
-- that renewing a lease stays a HOT update.
ALTER TABLE {workers}
    ADD COLUMN version        text,
    ADD COLUMN schema_version integer,
    ADD COLUMN settings       jsonb,
    ADD COLUMN clock_offset   double precision;
