DROP TABLE {retention_rules};
DROP TABLE {retention_days};
