"""What becomes of each job, written down by triggers: if, and only if, it was committed."""

import psycopg

#: One row for each row of a job that came, changed or went, live or finished.
INSTALL = """
CREATE TABLE IF NOT EXISTS faults_transitions (
    n bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    job uuid NOT NULL, op text NOT NULL, old text, new text, old_lease uuid, new_lease uuid,
    worker uuid, queue text, unique_key text, label text, priority int, attempts int, claims int,
    crashes int, max_attempts int, at_most_once boolean, started_at timestamptz
);
CREATE OR REPLACE FUNCTION faults_live() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
    IF TG_OP = 'DELETE' THEN r := OLD; ELSE r := NEW; END IF;
    IF TG_OP = 'UPDATE' AND OLD.state = NEW.state
       AND OLD.lease_id IS NOT DISTINCT FROM NEW.lease_id THEN RETURN NULL; END IF;
    INSERT INTO faults_transitions (job, op, old, new, old_lease, new_lease, worker, queue,
        unique_key, label, priority, attempts, claims, crashes, max_attempts, at_most_once,
        started_at)
    VALUES (r.id, CASE TG_OP WHEN 'INSERT' THEN 'came' WHEN 'UPDATE' THEN 'changed' ELSE 'left' END,
        CASE WHEN TG_OP <> 'INSERT' THEN OLD.state END,
        CASE WHEN TG_OP <> 'DELETE' THEN NEW.state END,
        CASE WHEN TG_OP <> 'INSERT' THEN OLD.lease_id END,
        CASE WHEN TG_OP <> 'DELETE' THEN NEW.lease_id END,
        r.worker, r.queue, r.unique_key, r.args ->> 'label', r.priority, r.attempts, r.claims,
        r.crashes, r.max_attempts, r.at_most_once, r.started_at);
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION faults_done() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
    IF TG_OP = 'DELETE' THEN r := OLD; ELSE r := NEW; END IF;
    INSERT INTO faults_transitions (job, op, old, new, new_lease, worker, queue, unique_key, label,
        priority, attempts, claims, crashes, max_attempts, at_most_once)
    VALUES (r.id, CASE TG_OP WHEN 'INSERT' THEN 'finished' WHEN 'UPDATE' THEN 'rewritten'
            ELSE 'forgotten' END,
        CASE WHEN TG_OP <> 'INSERT' THEN OLD.state END,
        CASE WHEN TG_OP <> 'DELETE' THEN NEW.state END,
        r.lease_id, r.worker, r.queue, r.unique_key, r.args ->> 'label', r.priority, r.attempts,
        r.claims, r.crashes, r.max_attempts, r.at_most_once);
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS faults_live ON chancy_jobs;
CREATE TRIGGER faults_live AFTER INSERT OR UPDATE OR DELETE ON chancy_jobs
    FOR EACH ROW EXECUTE FUNCTION faults_live();
DROP TRIGGER IF EXISTS faults_done ON chancy_history;
CREATE TRIGGER faults_done AFTER INSERT OR UPDATE OR DELETE ON chancy_history
    FOR EACH ROW EXECUTE FUNCTION faults_done();
"""


def install(dsn: str) -> None:
    """Begin to write down what becomes of the jobs of this database."""
    with psycopg.connect(dsn) as conn:
        conn.execute(INSTALL)
