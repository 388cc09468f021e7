-- How far each rule has been applied to the jobs that wait.
-- chancy: oldest 1
-- chancy: grant work SELECT, INSERT, UPDATE ON {ageings}
-- chancy: grant look SELECT ON {ageings}

CREATE TABLE {ageings} (
    -- Of which jobs, as the plugin writes it.
    rule     text PRIMARY KEY CHECK (octet_length(rule) BETWEEN 1 AND 500),
    -- What jobs had gained by then, all of them have. Missing before the first time.
    since    timestamptz CHECK (since BETWEEN '0001-12-31Z' AND '9999-01-02Z'),
    -- What they gain until then is being given to them: those with ids up to `last` have it.
    until    timestamptz CHECK (until BETWEEN '0001-12-31Z' AND '9999-01-02Z'),
    last     uuid,
    -- Each change raises it: whoever writes writes only what nobody else has written since.
    revision bigint NOT NULL
) WITH (fillfactor = 50);
