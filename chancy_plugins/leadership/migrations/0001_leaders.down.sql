DROP TABLE {leaders};
