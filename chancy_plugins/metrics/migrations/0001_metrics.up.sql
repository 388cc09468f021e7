-- What was counted and measured: as workers write it down, and merged into points of time.
-- chancy: oldest 1
-- chancy: grant work SELECT, INSERT, UPDATE, DELETE ON {metric_sessions}
-- chancy: grant work SELECT, INSERT, UPDATE, DELETE ON {metric_increments}
-- chancy: grant work SELECT, INSERT, UPDATE, DELETE ON {metric_series}
-- chancy: grant work SELECT, INSERT, UPDATE, DELETE ON {metric_points}
-- chancy: grant work SELECT, INSERT, UPDATE, DELETE ON {metric_counts}
-- chancy: grant look SELECT ON {metric_sessions}
-- chancy: grant look SELECT ON {metric_increments}
-- chancy: grant look SELECT ON {metric_series}
-- chancy: grant look SELECT ON {metric_points}
-- chancy: grant look SELECT ON {metric_counts}

-- Who writes: each worker numbers what it writes, so that nothing is counted twice.
CREATE TABLE {metric_sessions} (
    session uuid PRIMARY KEY,
    worker  text NOT NULL,
    -- Of what it has written last.
    number  bigint NOT NULL,
    slots   integer NOT NULL,
    running integer NOT NULL,
    ended   boolean NOT NULL DEFAULT false,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- What was written and is not merged yet: a row for each metric that something happened to.
CREATE TABLE {metric_increments} (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made_at timestamptz NOT NULL,
    worker  text NOT NULL,
    name    text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 200),
    kind    text NOT NULL CHECK (kind IN ('counter', 'gauge', 'histogram')),
    unit    text NOT NULL,
    labels  jsonb NOT NULL CHECK (jsonb_typeof(labels) = 'object'),
    count   bigint NOT NULL CHECK (count > 0),
    total   double precision NOT NULL,
    low     double precision NOT NULL,
    high    double precision NOT NULL,
    latest  double precision NOT NULL,
    -- How many values fell into which bucket: of histograms only.
    buckets jsonb CHECK (jsonb_typeof(buckets) = 'object')
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE INDEX ON {metric_increments} (name);

CREATE TABLE {metric_series} (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name    text NOT NULL,
    kind    text NOT NULL,
    unit    text NOT NULL,
    labels  jsonb NOT NULL,
    seen_at timestamptz NOT NULL,
    UNIQUE (name, kind, labels)
) WITH (fillfactor = 70);

-- Points of time: began_at is a multiple of resolution, in seconds. A resolution of 0 is all that
-- there ever was. Which worker it was is known of the fine resolutions only.
CREATE TABLE {metric_points} (
    resolution integer NOT NULL,
    series     bigint NOT NULL,
    began_at   timestamptz NOT NULL CHECK (began_at BETWEEN '0001-12-31Z' AND '9999-01-02Z'),
    worker     text NOT NULL,
    count      bigint NOT NULL,
    total      double precision NOT NULL,
    low        double precision NOT NULL,
    high       double precision NOT NULL,
    latest     double precision NOT NULL,
    latest_at  timestamptz NOT NULL,
    buckets    jsonb,
    PRIMARY KEY (resolution, series, began_at, worker)
) WITH (fillfactor = 70);

CREATE INDEX ON {metric_points} (resolution, began_at);

-- How many live jobs there were when they were counted last.
CREATE TABLE {metric_counts} (
    queue     text NOT NULL,
    state     text NOT NULL,
    count     bigint NOT NULL,
    -- Whether all were counted; else there are at least so many.
    exact     boolean NOT NULL,
    -- When the first of those that are due fell due.
    oldest_at timestamptz CHECK (oldest_at BETWEEN '0001-12-31Z' AND '9999-01-02Z'),
    -- When it was counted, and when there was one for the last time.
    as_of     timestamptz NOT NULL CHECK (as_of BETWEEN '0001-12-31Z' AND '9999-01-02Z'),
    met_at    timestamptz NOT NULL,
    PRIMARY KEY (queue, state)
) WITH (fillfactor = 50);
