-- Let SQL push jobs: statements of a plugin's that run where a job is settled, and triggers.
-- chancy: oldest 1

-- A new identity that sorts by its time: UUIDv7 (RFC 9562), as our clients make them.
CREATE FUNCTION {new_id}() RETURNS uuid
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    -- A random UUID is of version 4, binary 0100: two bits make it 0111.
    SELECT encode(set_bit(set_bit(overlay(
        uuid_send(gen_random_uuid()) PLACING
        substring(int8send(floor(extract(epoch FROM {now}()) * 1000)::bigint) FROM 3)
        FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$;

-- Store jobs as `Job.pack` writes them, in line in this order: each under the id beside it, or a new
-- one where there is none. Answers the ids stored: not of those whose unique key a live job holds.
CREATE FUNCTION {push_packed}(packed jsonb[], ids uuid[] DEFAULT NULL) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO {jobs} (id, seq, queue, func, args, meta, limits, state, priority, max_attempts,
                        unique_key, scheduled_at, at_most_once, exclusive, keep_result)
    SELECT coalesce(id, {new_id}()), seq, coalesce(job ->> 'queue', 'default'), job ->> 'func',
           coalesce(job -> 'kwargs', '{{}}'), coalesce(job -> 'meta', '{{}}'),
           -- Of two limits of a kind, the first holds.
           (SELECT jsonb_object_agg(one ->> 0, one -> 1 ORDER BY place DESC)
              FROM jsonb_array_elements(coalesce(nullif(job -> 'limits', 'null'), '[]'))
                   WITH ORDINALITY AS l (one, place)),
           CASE WHEN (job ->> 'scheduled_at')::timestamptz > {now}() THEN 'scheduled'
                ELSE 'pending' END,
           coalesce((job ->> 'priority')::smallint, 0::smallint),
           coalesce((job ->> 'max_attempts')::smallint, 1::smallint),
           job ->> 'unique_key',
           coalesce((job ->> 'scheduled_at')::timestamptz, {now}()),
           coalesce((job ->> 'at_most_once')::boolean, false),
           coalesce((job ->> 'exclusive')::boolean, false),
           coalesce((job ->> 'keep_result')::boolean, true)
      FROM (SELECT *, nextval((SELECT pg_get_serial_sequence('{jobs}', 'seq')::regclass)) AS seq
              FROM unnest(packed, ids) AS given (job, id)) AS asked
     ORDER BY job ->> 'unique_key' NULLS FIRST
    ON CONFLICT DO NOTHING
    RETURNING id
$$;
