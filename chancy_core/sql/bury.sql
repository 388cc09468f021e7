-- Declare workers dead whose lease has run out by the database's clock; forget those long dead.
WITH expired AS MATERIALIZED (
    SELECT id FROM {workers} WHERE NOT dead AND expires_at < {now}() FOR UPDATE SKIP LOCKED
), forgotten AS (
    DELETE FROM {workers} WHERE dead AND expires_at < {now}() - interval '1 day'
)
UPDATE {workers} SET dead = true WHERE id = ANY(ARRAY(SELECT id FROM expired))
RETURNING id
