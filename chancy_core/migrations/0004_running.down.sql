ALTER TABLE {workers}
    DROP COLUMN running;
