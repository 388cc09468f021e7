-- What is to be run when, and each time that it was run.
-- chancy: oldest 1
-- chancy: grant work SELECT, INSERT, UPDATE, DELETE ON {crons}
-- chancy: grant work SELECT, INSERT, DELETE ON {cron_fires}
-- chancy: grant look SELECT ON {crons}
-- chancy: grant look SELECT ON {cron_fires}

CREATE TABLE {crons} (
    key        text PRIMARY KEY CHECK (octet_length(key) BETWEEN 1 AND 200),
    expression text NOT NULL,
    tz         text NOT NULL DEFAULT 'UTC',
    -- As `Job.pack` writes it.
    job        jsonb NOT NULL,
    -- skip, run_once, or catch_up(5)
    missed     text NOT NULL DEFAULT 'run_once',
    -- Seconds.
    jitter     double precision NOT NULL DEFAULT 0 CHECK (jitter BETWEEN 0 AND 86400),
    paused     boolean NOT NULL DEFAULT false,
    in_code    boolean NOT NULL DEFAULT false,
    -- The first tick that nobody has decided on. Nobody has looked for it yet where it is missing.
    next_at    timestamptz CHECK (next_at BETWEEN '0001-12-31Z' AND '9999-01-02Z'),
    -- Each change raises it: who decides on ticks writes only what nobody else has written since.
    revision   bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT {now}()
        CHECK (updated_at BETWEEN '0001-12-31Z' AND '9999-01-02Z')
);

CREATE INDEX ON {crons} (next_at) WHERE NOT paused;

CREATE TABLE {cron_fires} (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key      text NOT NULL,
    -- The time that it was for. Missing where somebody asked for a run.
    tick     timestamptz CHECK (tick BETWEEN '0001-12-31Z' AND '9999-01-02Z'),
    fired_at timestamptz NOT NULL DEFAULT {now}()
        CHECK (fired_at BETWEEN '0001-12-31Z' AND '9999-01-02Z'),
    -- Missing where a live job held the unique key.
    job      uuid,
    -- No tick is fired twice, whatever becomes of the entry.
    UNIQUE (key, tick)
);

CREATE INDEX ON {cron_fires} (key, id);
CREATE INDEX ON {cron_fires} (fired_at);
