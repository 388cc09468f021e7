-- Which tables are watched, and what is pushed when one changes.
-- chancy: oldest 1
-- chancy: grant work SELECT ON {triggers}
-- chancy: grant look SELECT ON {triggers}

CREATE TABLE {triggers} (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL UNIQUE CHECK (octet_length(name) BETWEEN 1 AND 200),
    -- Follows the table when that is renamed, and a dump.
    relation     regclass NOT NULL,
    -- As it was called when it was declared: for people, if it is gone.
    table_schema text NOT NULL,
    table_name   text NOT NULL,
    operations   text[] NOT NULL,
    -- As `Job.pack` writes it.
    job          jsonb NOT NULL,
    -- How many of the changed rows the job is given, at most, and which of their columns.
    most         integer NOT NULL DEFAULT 0 CHECK (most BETWEEN 0 AND 1000),
    columns      text[],
    -- What a row has in it, to count.
    condition    jsonb,
    -- Whether a statement that changes no row pushes a job, too.
    empty        boolean NOT NULL DEFAULT false,
    -- Where workers are told of the job; missing where they find it by polling.
    channel      text,
    -- Whether a job that cannot be pushed leaves the statement alone.
    skip_errors  boolean NOT NULL DEFAULT false,
    enabled      boolean NOT NULL DEFAULT true,
    created_at   timestamptz NOT NULL DEFAULT {now}()
        CHECK (created_at BETWEEN '0001-12-31Z' AND '9999-01-02Z')
);

-- Push a job, since a statement has changed a table. With the rights of its owner, so that whoever
-- writes the table needs none on jobs: it pushes what is stored above, for the table that it is
-- stored for. `changed` has the changed rows.
CREATE FUNCTION {trigger_fired}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked  record;
    number bigint;
    listed text;
    lines  jsonb;
    packed jsonb;
BEGIN
    SELECT * INTO asked FROM {triggers}
     WHERE id = TG_ARGV[0]::bigint AND relation = TG_RELID AND enabled AND TG_OP = ANY (operations);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'TRUNCATE' AND (asked.most > 0 OR asked.condition IS NOT NULL) THEN
        -- Types of PostgreSQL's own are as JSON has them, others as text: a type of somebody's may
        -- have a cast to JSON, whose function would run with our rights.
        SELECT string_agg(CASE WHEN a.atttypid < 16384 THEN format('c.%I', a.attname)
                               ELSE format('CASE WHEN c.%1$I IS NULL THEN NULL '
                                           'ELSE format(''%%s'', c.%1$I) END AS %1$I', a.attname)
                          END, ', ' ORDER BY a.attnum)
          INTO listed
          FROM pg_attribute AS a
         WHERE a.attrelid = TG_RELID AND a.attnum > 0 AND NOT a.attisdropped;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        NULL;
    ELSIF asked.condition IS NULL THEN
        SELECT count(*) INTO number FROM changed;
        IF asked.most > 0 THEN
            EXECUTE format('SELECT jsonb_agg(to_jsonb(r)) '
                           'FROM (SELECT %s FROM changed AS c LIMIT $1) AS r', listed)
               INTO lines USING asked.most;
        END IF;
    ELSE
        EXECUTE format('SELECT count(*), jsonb_agg(line) FILTER (WHERE place <= $2) '
                       'FROM (SELECT line, row_number() OVER () AS place '
                       'FROM (SELECT to_jsonb(r) AS line FROM (SELECT %s FROM changed AS c) AS r '
                       'OFFSET 0) AS whole WHERE line @> $1) AS fit', listed)
           INTO number, lines USING asked.condition, asked.most;
    END IF;
    IF number = 0 AND NOT asked.empty THEN
        RETURN NULL;
    END IF;
    IF asked.columns IS NOT NULL THEN
        SELECT jsonb_agg((SELECT coalesce(jsonb_object_agg(key, value), '{{}}')
                            FROM jsonb_each(line) WHERE key = ANY (asked.columns)) ORDER BY place)
          INTO lines
          FROM jsonb_array_elements(lines) WITH ORDINALITY AS l (line, place);
    END IF;
    IF octet_length(lines::text) > 900000 THEN  -- a job's arguments have a megabyte
        SELECT jsonb_agg(line ORDER BY place)
          INTO lines
          FROM (SELECT line, place, sum(octet_length(line::text) + 2) OVER (ORDER BY place) AS size
                  FROM jsonb_array_elements(lines) WITH ORDINALITY AS l (line, place)) AS sized
         WHERE size <= 900000;
    END IF;
    packed := asked.job || jsonb_build_object(
        'kwargs', coalesce(asked.job -> 'kwargs', '{{}}')
                  || CASE WHEN asked.most = 0 THEN '{{}}'
                          ELSE jsonb_build_object('rows', coalesce(lines, '[]')) END,
        'meta', coalesce(asked.job -> 'meta', '{{}}') || jsonb_build_object('trigger', jsonb_build_object(
                    'name', asked.name, 'operation', TG_OP, 'schema', TG_TABLE_SCHEMA,
                    'table', TG_TABLE_NAME, 'count', number, 'at', {now}())));
    PERFORM {push_packed}(ARRAY[packed]);
    IF FOUND AND asked.channel IS NOT NULL THEN
        PERFORM pg_notify(asked.channel, 'queue.pushed:' || coalesce(packed ->> 'queue', 'default'));
    END IF;
    RETURN NULL;
EXCEPTION
    WHEN data_exception OR integrity_constraint_violation THEN
        -- What was declared can be stored: somebody has written nonsense into the row since.
        RAISE WARNING 'trigger % of chancy pushes no job: %', asked.name, SQLERRM;
        RETURN NULL;
    WHEN OTHERS THEN
        IF NOT coalesce(asked.skip_errors, false) THEN
            RAISE;
        END IF;
        RAISE WARNING 'trigger % of chancy pushes no job: %', asked.name, SQLERRM;
        RETURN NULL;
END
$$;

-- Nobody watches a table who may not write down what is pushed then.
REVOKE EXECUTE ON FUNCTION {trigger_fired}() FROM PUBLIC;

-- Take the triggers away that one has for other operations than these, or on another table. Answers
-- how many are left, since their tables belong to somebody else: those do nothing.
CREATE FUNCTION {trigger_remove}(gone bigint, kept text[]) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    there record;
    stay  integer := 0;
BEGIN
    FOR there IN
        SELECT t.tgname, t.tgrelid::regclass AS relation
          FROM pg_trigger AS t
         WHERE t.tgfoid = '{trigger_fired}()'::regprocedure
           AND starts_with(t.tgname::text, format('chancy_trigger_%s_%s_',
                                                  substr(md5('{triggers}'), 1, 8), gone))
           AND NOT EXISTS (SELECT FROM {triggers} AS w
                            WHERE w.id = gone AND w.relation = t.tgrelid
                              AND upper(substr(t.tgname, 26 + length(gone::text))) = ANY (kept))
         ORDER BY t.tgrelid, t.tgname
    LOOP
        BEGIN
            EXECUTE format('DROP TRIGGER %I ON %s', there.tgname, there.relation);
        EXCEPTION WHEN insufficient_privilege THEN
            stay := stay + 1;
        END;
    END LOOP;
    RETURN stay;
END
$$;

-- Make the triggers of a table that is watched, as far as they are not there.
CREATE FUNCTION {trigger_install}(watch text) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked record;
    done  text;
    named text;
BEGIN
    SELECT * INTO STRICT asked FROM {triggers} WHERE name = watch;
    FOREACH done IN ARRAY asked.operations LOOP
        named := format('chancy_trigger_%s_%s_%s', substr(md5('{triggers}'), 1, 8), asked.id,
                        lower(done));
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_trigger
             WHERE tgrelid = asked.relation AND tgname = named
               AND tgfoid = '{trigger_fired}()'::regprocedure);
        EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s %s FOR EACH STATEMENT '
                       'EXECUTE FUNCTION {trigger_fired}(%L)', named, done, asked.relation,
                       CASE done WHEN 'TRUNCATE' THEN ''
                                 WHEN 'DELETE' THEN 'REFERENCING OLD TABLE AS changed'
                                 ELSE 'REFERENCING NEW TABLE AS changed' END, asked.id);
    END LOOP;
    RETURN {trigger_remove}(asked.id, asked.operations);
END
$$;
