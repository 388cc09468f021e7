-- Who leads what, in which term, and for how long still.
-- chancy: oldest 1
-- chancy: grant work SELECT, INSERT, UPDATE ON {leaders}
-- chancy: grant look SELECT ON {leaders}

CREATE TABLE {leaders} (
    name        text PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 200),
    -- Raised by each who begins to lead, and never lowered.
    term        bigint NOT NULL CHECK (term > 0),
    -- Missing where the leadership was released.
    holder      uuid,
    -- For people: the worker's name.
    holder_name text NOT NULL,
    since       timestamptz NOT NULL CHECK (since BETWEEN '0001-12-31Z' AND '9999-01-02Z'),
    expires_at  timestamptz NOT NULL CHECK (expires_at BETWEEN '0001-12-31Z' AND '9999-01-02Z'),
    -- The term is a part of a key, so that a fence, which locks the key, keeps the next term
    -- waiting, and no renewal.
    UNIQUE (name, term)
) WITH (fillfactor = 50);
