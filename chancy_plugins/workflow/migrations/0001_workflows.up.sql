-- Workflows and batches: steps, what they wait for, and what became of their jobs.
-- chancy: oldest 1
-- chancy: grant work SELECT, INSERT, UPDATE, DELETE ON {workflows}
-- chancy: grant work SELECT, INSERT, UPDATE, DELETE ON {workflow_steps}
-- chancy: grant work SELECT, INSERT, DELETE ON {workflow_edges}
-- chancy: grant work EXECUTE ON {workflow_result}(uuid, integer)
-- chancy: grant work EXECUTE ON {workflow_given}(uuid, jsonb)
-- chancy: grant work EXECUTE ON {workflow_pass}(uuid[], integer[])
-- chancy: grant work EXECUTE ON {workflow_count}(uuid[], integer[], text[], text[])
-- chancy: grant work EXECUTE ON {workflow_expand}(uuid, integer, integer)
-- chancy: grant work EXECUTE ON {workflow_advance}(uuid[], jsonb[], integer)
-- chancy: grant work EXECUTE ON {workflow_go_on}(uuid[], integer)
-- chancy: grant work EXECUTE ON {workflow_settle}(uuid[], text[], text[], text[], integer)
-- chancy: grant work EXECUTE ON {workflow_look_again}(uuid[], integer)
-- chancy: grant work EXECUTE ON {workflow_push}(uuid, text, text, boolean, jsonb, jsonb, jsonb[], integer[], integer[])
-- chancy: grant work EXECUTE ON {workflow_add}(uuid, jsonb[])
-- chancy: grant work EXECUTE ON {workflow_retry}(uuid, integer)
-- chancy: grant look SELECT ON {workflows}
-- chancy: grant look SELECT ON {workflow_steps}
-- chancy: grant look SELECT ON {workflow_edges}
-- chancy: grant look EXECUTE ON {workflow_result}(uuid, integer)

-- Whoever changes anything of a workflow holds the lock of its row here; of several, by id.
CREATE TABLE {workflows} (
    id          uuid PRIMARY KEY,
    -- Their order: the newest has the highest.
    number      bigint GENERATED ALWAYS AS IDENTITY,
    name        text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 200),
    kind        text NOT NULL CHECK (kind IN ('workflow', 'batch')),
    state       text NOT NULL DEFAULT 'running'
        CHECK (state IN ('running', 'completed', 'failed', 'cancelled')),
    -- Nothing is queued meanwhile, whatever the state.
    paused      boolean NOT NULL DEFAULT false,
    -- More jobs may come: it does not end before that is over.
    open        boolean NOT NULL DEFAULT false,
    -- There are steps that could be queued and have not been: somebody has to look.
    due         boolean NOT NULL DEFAULT false,
    -- How many jobs it has, and how many of them are in each state; the others wait.
    total       integer NOT NULL DEFAULT 0,
    queued      integer NOT NULL DEFAULT 0,
    succeeded   integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    cancelled   integer NOT NULL DEFAULT 0,
    -- Failed, and allowed to.
    excused     integer NOT NULL DEFAULT 0,
    -- Groups and maps that are not over; they have no job of their own.
    gates       integer NOT NULL DEFAULT 0,
    -- How many steps have been numbered.
    numbered    integer NOT NULL DEFAULT 0,
    -- The jobs, as `Job.pack` writes them, that are pushed when the first step has failed, and when
    -- all jobs of a batch have ended.
    on_failure  jsonb,
    on_end      jsonb,
    -- Whether that has been pushed.
    told_end    boolean NOT NULL DEFAULT false,
    -- Why it cannot be advanced.
    problem     text,
    created_at  timestamptz NOT NULL DEFAULT {now}()
        CHECK (created_at BETWEEN '0001-12-31Z' AND '9999-01-02Z'),
    updated_at  timestamptz NOT NULL DEFAULT {now}()
        CHECK (updated_at BETWEEN '0001-12-31Z' AND '9999-01-02Z'),
    finished_at timestamptz CHECK (finished_at BETWEEN '0001-12-31Z' AND '9999-01-02Z')
) WITH (fillfactor = 50);

CREATE INDEX ON {workflows} (number);
CREATE INDEX ON {workflows} (state, number);
CREATE INDEX ON {workflows} (name, number);
CREATE INDEX ON {workflows} (id) WHERE due AND state = 'running' AND NOT paused;
CREATE INDEX ON {workflows} (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE {workflow_steps} (
    workflow  uuid NOT NULL,
    step      integer NOT NULL,
    name      text NOT NULL,
    -- A job; a group, which is over when its members are; a map, whose members come out of a list.
    kind      text NOT NULL DEFAULT 'job' CHECK (kind IN ('job', 'group', 'map')),
    -- waiting: for other steps. ready: for nothing, but it was not queued yet. excused: it failed,
    -- and may.
    state     text NOT NULL CHECK (state IN ('waiting', 'ready', 'queued', 'succeeded', 'failed',
                                             'cancelled', 'excused')),
    -- How many steps have to be over before.
    waits_for integer NOT NULL DEFAULT 0,
    -- The group or map that it is a member of; the first and the last member that it has.
    parent    integer,
    first     integer,
    last      integer,
    -- The identity of its job, which is known before that is pushed.
    job       uuid,
    -- The job as `Job.pack` writes it; of a map, that of each member, without one argument.
    packed    jsonb,
    -- The arguments that are results of other steps: by name, a step's number, or a list of them.
    inputs    jsonb,
    -- Of a map: whose result has the list, and which argument each of its elements is.
    over      integer,
    argument  text,
    may_fail  boolean NOT NULL DEFAULT false,
    result    jsonb,
    -- The bytes of the result; of a group or a map, those of its members together.
    size      bigint NOT NULL DEFAULT 0,
    -- Why it has failed.
    problem   text,
    PRIMARY KEY (workflow, step)
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX ON {workflow_steps} (job);
-- What is looked for: by nobody who settles, but after a crash.
CREATE INDEX ON {workflow_steps} (job) WHERE state = 'queued';
CREATE INDEX ON {workflow_steps} (job) WHERE state IN ('failed', 'cancelled') AND job IS NOT NULL;
CREATE INDEX ON {workflow_steps} (workflow, kind, step) WHERE state = 'ready';

CREATE TABLE {workflow_edges} (
    workflow  uuid NOT NULL,
    step      integer NOT NULL,
    -- Who waits for it.
    dependent integer NOT NULL,
    PRIMARY KEY (workflow, step, dependent)
);

-- All functions below are plain loops over indexes: what the statistics say, or do not say yet,
-- must not make anybody read a table from one end to the other.

-- The result of a step; of a group or a map, the list of its members' results.
CREATE FUNCTION {workflow_result}(flow uuid, node integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
    SELECT CASE WHEN s.kind = 'job' THEN coalesce(s.result, 'null')
                ELSE coalesce((SELECT jsonb_agg(coalesce(m.result, 'null') ORDER BY m.step)
                                 FROM {workflow_steps} AS m
                                WHERE m.workflow = flow AND m.step BETWEEN s.first AND s.last),
                              '[]') END
      FROM {workflow_steps} AS s
     WHERE s.workflow = flow AND s.step = node
$$;

-- The arguments that are results of others.
CREATE FUNCTION {workflow_given}(flow uuid, inputs jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_object_agg(i.key,
               CASE WHEN jsonb_typeof(i.value) = 'number'
                    THEN {workflow_result}(flow, i.value::integer)
                    ELSE coalesce((SELECT jsonb_agg({workflow_result}(flow, n.value::integer)
                                                    ORDER BY n.ordinality)
                                     FROM jsonb_array_elements(i.value) WITH ORDINALITY AS n),
                                  '[]') END)
      FROM jsonb_each(inputs) AS i
$$;

-- Say to those that wait for these steps that they are over.
CREATE FUNCTION {workflow_pass}(flows uuid[], steps integer[]) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    WITH less AS MATERIALIZED (
        SELECT workflow, step, count(*)::integer AS by
          FROM (SELECT e.workflow, e.dependent AS step
                  FROM unnest(flows, steps) AS d (workflow, step)
                  JOIN {workflow_edges} AS e ON e.workflow = d.workflow AND e.step = d.step
                 UNION ALL
                SELECT s.workflow, s.parent
                  FROM unnest(flows, steps) AS d (workflow, step)
                  JOIN {workflow_steps} AS s ON s.workflow = d.workflow AND s.step = d.step
                 WHERE s.parent IS NOT NULL) AS told
         GROUP BY workflow, step
    )
    UPDATE {workflow_steps} AS s
       SET waits_for = s.waits_for - less.by,
           state = CASE WHEN s.waits_for <= less.by THEN 'ready' ELSE s.state END
      FROM less
     WHERE s.workflow = less.workflow AND s.step = less.step AND s.state = 'waiting'
$$;

-- Count what has become of steps, and say what that makes of their workflows. Answers the jobs that
-- are to be told of it. A step that is a gate is 'gate' before; one that lets pass is 'passed' after.
CREATE FUNCTION {workflow_count}(flows uuid[], steps integer[], befores text[], afters text[])
RETURNS SETOF jsonb
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    WITH change AS MATERIALIZED (
        SELECT flow, min(step) FILTER (WHERE after IN ('failed', 'cancelled')) AS culprit,
               sum((after = 'queued')::int - (before = 'queued')::int)::int AS queued,
               sum((after = 'succeeded')::int - (before = 'succeeded')::int)::int AS succeeded,
               sum((after = 'failed')::int - (before = 'failed')::int)::int AS failed,
               sum((after = 'cancelled')::int - (before = 'cancelled')::int)::int AS cancelled,
               sum((after = 'excused')::int - (before = 'excused')::int)::int AS excused,
               sum((after = 'passed')::int)::int AS passed
          FROM unnest(flows, steps, befores, afters) AS c (flow, step, before, after)
         GROUP BY flow
    ), sum AS MATERIALIZED (
        SELECT w.id, w.state AS state_before, w.kind, w.open, w.total, w.told_end, c.culprit,
               w.failed + w.cancelled AS bad_before,
               w.queued + c.queued AS queued, w.succeeded + c.succeeded AS succeeded,
               w.failed + c.failed AS failed, w.cancelled + c.cancelled AS cancelled,
               w.excused + c.excused AS excused, w.gates - c.passed AS gates
          FROM change AS c JOIN {workflows} AS w ON w.id = c.flow
    ), fate AS MATERIALIZED (
        SELECT sum.*,
               total - succeeded - excused + gates
               - CASE WHEN kind = 'batch' THEN failed + cancelled ELSE 0 END = 0
               AND NOT open AS over
          FROM sum
    ), final AS MATERIALIZED (
        SELECT fate.*,
               CASE WHEN state_before = 'cancelled' THEN 'cancelled'
                    WHEN failed + cancelled > 0 AND (over OR kind = 'workflow') THEN 'failed'
                    WHEN over THEN 'completed' ELSE 'running' END AS state
          FROM fate
    ), written AS (
        UPDATE {workflows} AS w
           SET state = f.state, queued = f.queued, succeeded = f.succeeded, failed = f.failed,
               cancelled = f.cancelled, excused = f.excused, gates = f.gates,
               due = w.due OR (f.state = 'running' AND f.state_before <> 'running'),
               told_end = w.told_end OR (f.over AND f.state <> 'cancelled'),
               finished_at = CASE WHEN f.state = 'running' THEN NULL
                                  WHEN f.state = f.state_before THEN w.finished_at
                                  ELSE {now}() END,
               updated_at = {now}()
          FROM final AS f
         WHERE w.id = f.id
        RETURNING w.*
    )
    SELECT told.job || jsonb_build_object('meta',
               coalesce(told.job -> 'meta', '{{}}') || jsonb_build_object('workflow',
                   jsonb_build_object(
                       'id', w.id, 'name', w.name, 'kind', w.kind, 'state', w.state,
                       'event', told.event, 'total', w.total, 'succeeded', w.succeeded,
                       'failed', w.failed, 'cancelled', w.cancelled, 'excused', w.excused)
                   || CASE WHEN told.event = 'failed' THEN
                          (SELECT jsonb_build_object('failed_step', s.name, 'problem', s.problem)
                             FROM {workflow_steps} AS s
                            WHERE s.workflow = w.id AND s.step = f.culprit)
                      ELSE '{{}}' END))
      FROM written AS w
      JOIN final AS f ON f.id = w.id
     CROSS JOIN LATERAL (
         SELECT 'failed', w.on_failure
          WHERE f.bad_before = 0 AND f.failed + f.cancelled > 0 AND f.state <> 'cancelled'
          UNION ALL
         SELECT 'ended', w.on_end WHERE f.over AND NOT f.told_end AND f.state <> 'cancelled'
     ) AS told (event, job)
     WHERE told.job IS NOT NULL
$$;

-- Make the members of a map out of its list. Answers NULL if they are more than may be made now,
-- else what the map is then: 'waiting', or 'ready' if its list is empty, or 'failed'.
CREATE FUNCTION {workflow_expand}(flow uuid, node integer, most integer) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    map    {workflow_steps}%ROWTYPE;
    source {workflow_steps}%ROWTYPE;
    list   jsonb;
    length integer := 0;
    begin_ integer;
    wrong  text;
BEGIN
    SELECT * INTO STRICT map FROM {workflow_steps} WHERE workflow = flow AND step = node;
    SELECT * INTO STRICT source FROM {workflow_steps} WHERE workflow = flow AND step = map.over;
    IF source.size > 16000000 THEN
        wrong := format('the result of %s has %s bytes, where a list may have 16,000,000',
                        source.name, source.size);
    ELSE
        list := {workflow_result}(flow, map.over);
        IF jsonb_typeof(list) <> 'array' THEN
            wrong := format('the result of %s must be a list, and is %s', source.name,
                            CASE jsonb_typeof(list) WHEN 'null' THEN 'null'
                                 WHEN 'object' THEN 'an object'
                                 ELSE 'a ' || jsonb_typeof(list) END);
        ELSE
            length := jsonb_array_length(list);
            IF length > 10000 THEN
                wrong := format('the result of %s has %s elements, where a map takes 10,000',
                                source.name, length);
            END IF;
        END IF;
    END IF;
    IF wrong IS NOT NULL THEN
        UPDATE {workflow_steps} SET state = 'failed', problem = wrong
         WHERE workflow = flow AND step = node;
        RETURN 'failed';
    END IF;
    IF length > most THEN
        RETURN NULL;
    END IF;
    UPDATE {workflows} SET numbered = numbered + length, total = total + length
     WHERE id = flow RETURNING numbered - length + 1 INTO begin_;
    INSERT INTO {workflow_steps} (workflow, step, name, state, parent, job, packed, inputs, may_fail)
    SELECT flow, begin_ + e.n::integer - 1, format('%s[%s]', map.name, e.n - 1), 'ready', node,
           {new_id}(),
           map.packed || jsonb_build_object(
               'kwargs', (map.packed -> 'kwargs') || jsonb_build_object(map.argument, e.value),
               'meta', (map.packed -> 'meta') || jsonb_build_object('workflow', jsonb_build_object(
                   'id', flow, 'step', format('%s[%s]', map.name, e.n - 1)))),
           map.inputs, map.may_fail
      FROM jsonb_array_elements(list) WITH ORDINALITY AS e (value, n);
    UPDATE {workflow_steps}
       SET first = begin_, last = begin_ + length - 1, waits_for = length,
           state = CASE WHEN length = 0 THEN 'ready' ELSE 'waiting' END
     WHERE workflow = flow AND step = node;
    RETURN CASE WHEN length = 0 THEN 'ready' ELSE 'waiting' END;
END
$$;

-- Queue what is ready, of workflows whose locks are held: up to so many jobs, and these beside them.
-- Answers the queues that have new jobs, and the workflows of which there is more.
CREATE FUNCTION {workflow_advance}(flows uuid[], told jsonb[], most integer)
RETURNS TABLE (more uuid, queue text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    going  uuid[];
    at_w   uuid[];
    at_s   integer[];
    befores text[];
    afters text[];
    node   record;
    became text;
    jobs   uuid[];
    packed jsonb[];
    large  uuid[];
    stored uuid[];
    rounds integer := 0;
BEGIN
    LOOP
        going := ARRAY(SELECT id FROM {workflows}
                        WHERE id = ANY(flows) AND state = 'running' AND NOT paused ORDER BY id);
        EXIT WHEN going = '{{}}';
        -- Gates first: each that opens may open others.
        LOOP
            at_w := '{{}}'; at_s := '{{}}'; befores := '{{}}'; afters := '{{}}';
            rounds := rounds + 1;
            FOR node IN SELECT s.workflow, s.step FROM {workflow_steps} AS s
                         WHERE s.workflow = ANY(going) AND s.state = 'ready' AND s.kind = 'map'
                           AND s.first IS NULL LOOP
                became := {workflow_expand}(node.workflow, node.step, most);
                IF became = 'failed' THEN
                    at_w := at_w || node.workflow; at_s := at_s || node.step;
                    befores := befores || 'gate'::text; afters := afters || became;
                END IF;
            END LOOP;
            WITH size AS MATERIALIZED (
                SELECT s.workflow, s.step,
                       (SELECT coalesce(sum(m.size), 0) FROM {workflow_steps} AS m
                         WHERE m.workflow = s.workflow AND m.step BETWEEN s.first AND s.last)
                       AS bytes
                  FROM {workflow_steps} AS s
                 WHERE s.workflow = ANY(going) AND s.state = 'ready'
                   AND s.kind IN ('group', 'map') AND s.first IS NOT NULL
            ), passed AS (
                UPDATE {workflow_steps} AS s SET state = 'succeeded', size = size.bytes
                  FROM size
                 WHERE s.workflow = size.workflow AND s.step = size.step
                RETURNING s.workflow, s.step
            )
            SELECT at_w || array_agg(workflow), at_s || array_agg(step),
                   befores || array_agg('gate'::text), afters || array_agg('passed'::text)
              INTO at_w, at_s, befores, afters
              FROM passed;
            EXIT WHEN coalesce(at_w, '{{}}') = '{{}}';
            PERFORM {workflow_pass}(
                ARRAY(SELECT w FROM unnest(at_w, afters) AS a (w, after) WHERE after = 'passed'),
                ARRAY(SELECT s FROM unnest(at_s, afters) AS a (s, after) WHERE after = 'passed'));
            told := told || ARRAY(SELECT {workflow_count}(at_w, at_s, befores, afters));
            going := ARRAY(SELECT id FROM {workflows}
                            WHERE id = ANY(going) AND state = 'running' ORDER BY id);
            EXIT WHEN rounds > 1000;  -- the rest is left for another turn
        END LOOP;
        -- A job whose key another holds waits until that is over. Who deletes that one at this
        -- moment may be waiting for us, so nobody is waited for here.
        SELECT array_agg(c.job), array_agg(c.packed), array_agg(c.job) FILTER (WHERE c.bytes > 16000000)
          INTO jobs, packed, large
          FROM (SELECT s.job, s.bytes,
                       CASE WHEN s.bytes > 16000000 THEN NULL WHEN s.inputs IS NULL THEN s.packed
                            ELSE s.packed || jsonb_build_object('kwargs', (s.packed -> 'kwargs')
                                     || {workflow_given}(s.workflow, s.inputs)) END AS packed
                  FROM (SELECT s.workflow, s.step, s.job, s.packed, s.inputs,
                               CASE WHEN s.inputs IS NULL THEN 0 ELSE
                                   (SELECT sum(r.size) FROM {workflow_steps} AS r
                                     WHERE r.workflow = s.workflow AND r.step = ANY(ARRAY(
                                         SELECT n::integer
                                           FROM jsonb_path_query(s.inputs, 'lax $.*[*]') AS n)))
                               END AS bytes
                          FROM {workflow_steps} AS s
                         WHERE s.workflow = ANY(going) AND s.state = 'ready' AND s.kind = 'job'
                           AND (s.packed ->> 'unique_key' IS NULL OR NOT EXISTS (
                                   SELECT FROM {jobs_v1} AS j
                                    WHERE j.unique_key = s.packed ->> 'unique_key'
                                      AND j.state IN ('scheduled', 'pending', 'running')))
                         ORDER BY s.workflow, s.step
                         LIMIT most) AS s) AS c;
        EXIT WHEN large IS NULL;
        WITH wrong AS (
            UPDATE {workflow_steps} AS s
               SET state = 'failed', problem = 'the results that are its arguments have more than '
                                               '16,000,000 bytes together'
             WHERE s.job = ANY(large)
            RETURNING s.workflow, s.step
        )
        SELECT array_agg(workflow), array_agg(step) INTO at_w, at_s FROM wrong;
        told := told || ARRAY(SELECT {workflow_count}(
            at_w, at_s, array_fill('ready'::text, ARRAY[cardinality(at_w)]),
            array_fill('failed'::text, ARRAY[cardinality(at_w)])));
        jobs := NULL; packed := NULL;
    END LOOP;
    IF going = '{{}}' THEN
        jobs := NULL; packed := NULL;
    END IF;
    IF jobs IS NOT NULL OR told <> '{{}}' THEN
        -- All at once, so that of all who push, each takes the keys in their order.
        stored := ARRAY(SELECT {push_packed}(
            packed || told,
            jobs || CASE WHEN told = '{{}}' THEN '{{}}'::uuid[]
                         ELSE array_fill(NULL::uuid, ARRAY[cardinality(told)]) END));
        RETURN QUERY SELECT DISTINCT NULL::uuid, coalesce(one ->> 'queue', 'default')
                       FROM unnest(packed || told) AS one;
    END IF;
    IF going <> '{{}}' THEN
        WITH queued AS (
            UPDATE {workflow_steps} AS s SET state = 'queued'
             WHERE s.job = ANY(stored) AND s.state = 'ready'
            RETURNING s.workflow
        )
        SELECT array_agg(q.workflow) INTO at_w FROM queued AS q;
        RETURN QUERY
        WITH new AS MATERIALIZED (
            SELECT f.id, sum(f.queued)::integer AS queued,
                   EXISTS (SELECT FROM {workflow_steps} AS s
                            WHERE s.workflow = f.id AND s.state = 'ready') AS due,
                   EXISTS (SELECT FROM {workflow_steps} AS s
                            WHERE s.workflow = f.id AND s.state = 'ready'
                              AND s.kind IN ('group', 'map')) AS gate
              FROM (SELECT g AS id, 0 AS queued FROM unnest(going) AS g
                     UNION ALL
                    SELECT q, 1 FROM unnest(at_w) AS q) AS f
             GROUP BY f.id
        ), written AS (
            UPDATE {workflows} AS w
               SET queued = w.queued + new.queued, due = new.due, updated_at = {now}()
              FROM new
             WHERE w.id = new.id AND (new.queued > 0 OR w.due <> new.due)
        )
        -- What could not be queued though there was room is left to those who look after a while.
        SELECT new.id, NULL::text
          FROM new
         WHERE new.gate OR new.due AND coalesce(cardinality(jobs), 0) >= most;
    END IF;
END
$$;

-- Go on with workflows: queue what is ready. Answers as `workflow_advance` does.
CREATE FUNCTION {workflow_go_on}(flows uuid[], most integer)
RETURNS TABLE (more uuid, queue text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    held uuid[];
BEGIN
    held := ARRAY(SELECT w.id FROM {workflows} AS w WHERE w.id = ANY(flows) ORDER BY w.id
                     FOR NO KEY UPDATE);
    RETURN QUERY SELECT * FROM {workflow_advance}(held, '{{}}', most);
END
$$;

-- Record what became of jobs, and go on with the workflows that they are steps of. What is recorded
-- already changes nothing. Answers as `workflow_advance` does.
CREATE FUNCTION {workflow_settle}(ended uuid[], states text[], results text[], problems text[],
                                  most integer)
RETURNS TABLE (more uuid, queue text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    flows   uuid[];
    at_w    uuid[];
    at_s    integer[];
    befores text[];
    afters  text[];
    told    jsonb[];
BEGIN
    flows := ARRAY(SELECT w.id FROM {workflows} AS w
                    WHERE w.id = ANY(ARRAY(SELECT s.workflow FROM {workflow_steps} AS s
                                            WHERE s.job = ANY(ended)))
                    ORDER BY w.id
                      FOR NO KEY UPDATE);
    IF flows = '{{}}' THEN
        RETURN;
    END IF;
    WITH was AS MATERIALIZED (
        SELECT s.workflow, s.step, s.state AS before, t.result, t.problem, w.kind,
               CASE WHEN t.state = 'succeeded' THEN 'succeeded' WHEN s.may_fail THEN 'excused'
                    WHEN t.state = 'cancelled' THEN 'cancelled' ELSE 'failed' END AS after
          FROM unnest(ended, states, results, problems) AS t (job, state, result, problem)
          JOIN {workflow_steps} AS s ON s.job = t.job
          JOIN {workflows} AS w ON w.id = s.workflow
         WHERE s.state IN ('queued', 'failed', 'cancelled')
    ), written AS (
        UPDATE {workflow_steps} AS s
           SET state = was.after, problem = was.problem,
               -- A batch hands nothing on: what its jobs returned stays with them.
               result = CASE WHEN was.kind = 'workflow' THEN was.result::jsonb END,
               size = CASE WHEN was.kind = 'workflow'
                           THEN coalesce(octet_length(was.result), 0) ELSE 0 END
          FROM was
         WHERE s.workflow = was.workflow AND s.step = was.step AND was.before <> was.after
        RETURNING s.workflow, s.step, was.before, was.after
    )
    SELECT array_agg(c.workflow), array_agg(c.step), array_agg(c.before), array_agg(c.after)
      INTO at_w, at_s, befores, afters
      FROM written AS c;
    IF at_w IS NULL THEN
        RETURN;
    END IF;
    PERFORM {workflow_pass}(
        ARRAY(SELECT c.w FROM unnest(at_w, afters) AS c (w, after)
               WHERE c.after IN ('succeeded', 'excused')),
        ARRAY(SELECT c.s FROM unnest(at_s, afters) AS c (s, after)
               WHERE c.after IN ('succeeded', 'excused')));
    told := ARRAY(SELECT {workflow_count}(at_w, at_s, befores, afters));
    RETURN QUERY SELECT * FROM {workflow_advance}(flows, told, most);
END
$$;

-- Look once more what became of the jobs of steps, and record it: for what nobody has told of.
-- Answers as `workflow_advance` does.
CREATE FUNCTION {workflow_look_again}(of_steps uuid[], most integer)
RETURNS TABLE (more uuid, queue text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    jobs     uuid[];
    states   text[];
    results  text[];
    problems text[];
BEGIN
    -- What is read after this is not older than what was recorded by whoever held the locks.
    PERFORM FROM {workflows} AS w
      WHERE w.id = ANY(ARRAY(SELECT s.workflow FROM {workflow_steps} AS s
                              WHERE s.job = ANY(of_steps)))
      ORDER BY w.id
        FOR NO KEY UPDATE;
    WITH found AS MATERIALIZED (
        SELECT j.id, j.state, j.finished_at, j.result,
               nullif(concat_ws(': ', j.errors -> -1 ->> 'type', j.errors -> -1 ->> 'message'), '')
               AS problem
          FROM {jobs_v1} AS j
         WHERE j.id = ANY(of_steps)
    )
    SELECT array_agg(s.job), array_agg(coalesce(j.state, 'gone')), array_agg(j.result::text),
           array_agg(CASE WHEN j.id IS NULL THEN 'its job is gone: somebody has purged it'
                          WHEN j.state = 'failed' THEN coalesce(left(j.problem, 500), 'failed')
                          WHEN j.state <> 'succeeded' THEN 'its job is ' || j.state END)
      INTO jobs, states, results, problems
      FROM {workflow_steps} AS s
      LEFT JOIN found AS j ON j.id = s.job
     WHERE s.job = ANY(of_steps)
       AND CASE WHEN j.id IS NULL THEN s.state = 'queued' ELSE j.finished_at IS NOT NULL END;
    IF jobs IS NOT NULL THEN
        RETURN QUERY SELECT * FROM {workflow_settle}(jobs, states, results, problems, most);
    END IF;
END
$$;

-- Store a workflow, and queue what waits for nothing; a second time it does nothing. Answers the jobs
-- that were queued. Each step is an object with the columns of its row, but for its number, which is
-- its place, from 1.
CREATE FUNCTION {workflow_push}(flow uuid, name text, kind text, open boolean, on_failure jsonb,
                                on_end jsonb, steps jsonb[], edge_steps integer[],
                                edge_dependents integer[])
RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    INSERT INTO {workflows} AS w (id, name, kind, open, on_failure, on_end)
    VALUES (flow, name, kind, open, on_failure, on_end)
    ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN QUERY SELECT s.job FROM {workflow_steps} AS s
                      WHERE s.workflow = flow AND s.state = 'queued';
        RETURN;
    END IF;
    INSERT INTO {workflow_edges} (workflow, step, dependent)
    SELECT flow, e.step, e.dependent FROM unnest(edge_steps, edge_dependents) AS e (step, dependent);
    RETURN QUERY SELECT {workflow_add}(flow, steps);
END
$$;

-- Add steps: those of a new workflow, or more jobs of a batch. Answers the jobs that were queued.
CREATE FUNCTION {workflow_add}(flow uuid, steps jsonb[]) RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before   integer;
    in_batch boolean;
    held     integer := (SELECT count(*) FROM unnest(steps) AS s WHERE s ? 'kind');
    jobs     uuid[];
    packed   jsonb[];
BEGIN
    UPDATE {workflows} AS w
       SET numbered = w.numbered + cardinality(steps), gates = w.gates + held,
           total = w.total + cardinality(steps) - held, updated_at = {now}()
     WHERE w.id = flow
    RETURNING w.numbered - cardinality(steps), w.kind = 'batch' INTO before, in_batch;
    WITH given AS MATERIALIZED (
        SELECT (before + n)::integer AS step, s,
               -- What waits for nothing, not even for a key, is queued without more ado.
               NOT s ? 'kind' AND NOT s ? 'waits_for' AND NOT s ? 'inputs'
               AND s -> 'packed' ->> 'unique_key' IS NULL AS at_once
          FROM unnest(steps) WITH ORDINALITY AS u (s, n)
    ), stored AS (
        INSERT INTO {workflow_steps} (workflow, step, name, kind, state, waits_for, parent, first,
                                      last, job, packed, inputs, over, argument, may_fail)
        SELECT flow, g.step, coalesce(s ->> 'name', g.step::text), coalesce(s ->> 'kind', 'job'),
               CASE WHEN g.at_once THEN 'queued' WHEN s ? 'waits_for' THEN 'waiting'
                    ELSE 'ready' END,
               coalesce((s ->> 'waits_for')::integer, 0), (s ->> 'parent')::integer,
               (s ->> 'first')::integer, (s ->> 'last')::integer, (s ->> 'job')::uuid,
               CASE WHEN NOT (in_batch AND g.at_once) THEN s -> 'packed' END, s -> 'inputs',
               (s ->> 'over')::integer, s ->> 'argument', coalesce((s ->> 'may_fail')::boolean, false)
          FROM given AS g
    )
    SELECT array_agg((s ->> 'job')::uuid ORDER BY g.step), array_agg(s -> 'packed' ORDER BY g.step)
      INTO jobs, packed
      FROM given AS g
     WHERE g.at_once;
    IF jobs IS NOT NULL THEN
        RETURN QUERY SELECT {push_packed}(packed, jobs);
        UPDATE {workflows} AS w SET queued = w.queued + cardinality(jobs) WHERE w.id = flow;
    END IF;
    IF EXISTS (SELECT FROM {workflow_steps} AS s WHERE s.workflow = flow AND s.state = 'ready') THEN
        PERFORM {workflow_advance}(ARRAY[flow], '{{}}', 100000);
        RETURN QUERY SELECT s.job FROM {workflow_steps} AS s
                      WHERE s.workflow = flow AND s.step > before AND s.state = 'queued'
                        AND s.job <> ALL(coalesce(jobs, '{{}}'));
    END IF;
END
$$;

-- Have a workflow run once more that failed or was cancelled: those of its failed steps whose jobs are
-- live by now, or not there, so that they are pushed again. Answers as `workflow_advance` does.
CREATE FUNCTION {workflow_retry}(flow uuid, most integer)
RETURNS TABLE (more uuid, queue text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    at_s    integer[];
    befores text[];
    afters  text[];
    told    jsonb[];
BEGIN
    PERFORM FROM {workflows} AS w WHERE w.id = flow FOR NO KEY UPDATE;
    WITH bad AS MATERIALIZED (
        SELECT s.step, s.job, s.packed, s.kind, s.state
          FROM {workflow_steps} AS s
         WHERE s.workflow = flow AND s.state IN ('failed', 'cancelled')
    ), found AS MATERIALIZED (
        SELECT j.id, j.finished_at IS NULL AS live
          FROM {jobs_v1} AS j
         WHERE j.id = ANY(ARRAY(SELECT bad.job FROM bad WHERE bad.job IS NOT NULL))
    ), again AS MATERIALIZED (
        SELECT bad.step, bad.state AS before,
               CASE WHEN bad.job = ANY(ARRAY(SELECT f.id FROM found AS f WHERE f.live))
                    THEN 'queued' ELSE 'ready' END AS after
          FROM bad
         WHERE bad.kind = 'map'
            OR bad.job = ANY(ARRAY(SELECT f.id FROM found AS f WHERE f.live))
            OR bad.packed IS NOT NULL AND bad.job <> ALL(ARRAY(SELECT f.id FROM found AS f))
    ), written AS (
        UPDATE {workflow_steps} AS s SET state = again.after, problem = NULL
          FROM again
         WHERE s.workflow = flow AND s.step = again.step
        RETURNING s.step, again.before, again.after
    )
    SELECT array_agg(r.step), array_agg(r.before), array_agg(r.after)
      INTO at_s, befores, afters
      FROM written AS r;
    UPDATE {workflows} AS w SET state = 'running', finished_at = NULL
     WHERE w.id = flow AND w.state = 'cancelled';
    -- Once more, whatever has changed: what is true of its steps says what is true of it.
    told := ARRAY(SELECT {workflow_count}(
        array_fill(flow, ARRAY[coalesce(cardinality(at_s), 0) + 1]), at_s || 0,
        befores || ''::text, afters || ''::text));
    RETURN QUERY SELECT * FROM {workflow_advance}(ARRAY[flow], told, most);
END
$$;
