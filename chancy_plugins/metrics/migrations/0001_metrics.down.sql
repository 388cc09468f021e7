DROP TABLE {metric_counts};
DROP TABLE {metric_points};
DROP TABLE {metric_series};
DROP TABLE {metric_increments};
DROP TABLE {metric_sessions};
