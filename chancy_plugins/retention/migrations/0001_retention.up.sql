-- What is being taken out of the history, and by which rules.
-- chancy: oldest 1
-- chancy: grant work SELECT ON {retention_days}
-- chancy: grant work SELECT ON {retention_rules}
-- chancy: grant look SELECT ON {retention_days}
-- chancy: grant look SELECT ON {retention_rules}

CREATE TABLE {retention_days} (
    day      date PRIMARY KEY CHECK (day BETWEEN '0001-12-31' AND '9999-01-01'),
    -- The table that is to be dropped, written down before it is taken out of the history: no other
    -- is dropped, whatever it is called.
    dropping oid,
    -- By which rules its rows are looked at, up to which time, and behind which row that goes on.
    rules    text,
    step     double precision NOT NULL DEFAULT 0,
    after_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    after_at timestamptz NOT NULL DEFAULT '0001-12-31Z'
        CHECK (after_at BETWEEN '0001-12-31Z' AND '9999-01-02Z'),
    -- Whether rows had to be left that somebody had locked.
    missed   boolean NOT NULL DEFAULT false,
    done     boolean NOT NULL DEFAULT false
);

-- One row: which installation this is, and the rules that somebody has last told a worker.
CREATE TABLE {retention_rules} (
    single       boolean PRIMARY KEY DEFAULT true CHECK (single),
    installation uuid NOT NULL DEFAULT gen_random_uuid(),
    rules        jsonb,
    told_by      text,
    told_at      timestamptz CHECK (told_at BETWEEN '0001-12-31Z' AND '9999-01-02Z')
);

INSERT INTO {retention_rules} DEFAULT VALUES;
