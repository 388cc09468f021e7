ALTER TABLE {workers}
    DROP COLUMN faults;
