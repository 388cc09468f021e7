-- A row for each time that a job has succeeded.
-- chancy: oldest 1
-- chancy: grant work INSERT ON {acme_ledger}
CREATE TABLE {acme_ledger} (
    settled timestamptz NOT NULL DEFAULT {now}(),
    job     uuid NOT NULL,
    tenant  text NOT NULL,
    PRIMARY KEY (settled, job)
);
