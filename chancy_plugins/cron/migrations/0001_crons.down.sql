DROP TABLE {cron_fires};
DROP TABLE {crons};
