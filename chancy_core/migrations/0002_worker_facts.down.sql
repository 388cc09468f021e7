ALTER TABLE {workers}
    DROP COLUMN version,
    DROP COLUMN schema_version,
    DROP COLUMN settings,
    DROP COLUMN clock_offset;
