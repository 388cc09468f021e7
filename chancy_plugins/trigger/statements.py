"""What is asked of the table of triggers, and of the tables that are watched."""

from collections.abc import Sequence

from attrs import frozen

from chancy_core import codec
from chancy_core.statement import Names, Row, Statement, nothing
from chancy_plugins.trigger.watch import Listed, Watch

#: How long a change waits for the table, while writers use it, and others wait behind it.
LOCK_TIMEOUT = "2s"

_PATIENCE = """\
-- Give way to those who use the table that is to be watched.
SELECT set_config('lock_timeout', %(timeout)s, true)
"""

_FIND = """\
-- Find the table that is to be watched, and whether we may.
SELECT c.relkind::text, current_user::text, has_table_privilege(c.oid, 'TRIGGER'),
       ARRAY(SELECT attname::text FROM pg_attribute
              WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relname = %(table)s
"""

_STORE = """\
-- Write down which table is watched, and what is pushed when it changes.
INSERT INTO {triggers} AS w (name, relation, table_schema, table_name, operations, job, most,
                             columns, condition, empty, channel, skip_errors, enabled)
SELECT %(name)s, c.oid::regclass, n.nspname, c.relname, %(operations)s::text[], %(job)s::jsonb,
       %(most)s, %(columns)s::text[], %(condition)s::jsonb, %(empty)s, %(channel)s::text,
       %(skip_errors)s, %(enabled)s
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relname = %(table)s
ON CONFLICT (name) DO UPDATE
   SET relation = excluded.relation, table_schema = excluded.table_schema,
       table_name = excluded.table_name, operations = excluded.operations, job = excluded.job,
       most = excluded.most, columns = excluded.columns, condition = excluded.condition,
       empty = excluded.empty, channel = excluded.channel, skip_errors = excluded.skip_errors,
       enabled = excluded.enabled
RETURNING id
"""

_INSTALL = """\
-- Have the table watched; answers how many triggers of before could not be taken away.
SELECT {trigger_install}(%(name)s)
"""

_REMOVE = """\
-- Have a table watched no longer; answers how many triggers could not be taken away.
SELECT {trigger_remove}(id, '{{}}') FROM {triggers} WHERE name = %(name)s
"""

_DELETE = "-- Forget a trigger.\nDELETE FROM {triggers} WHERE name = %(name)s RETURNING id"

_SWITCH = """\
-- Switch a trigger on or off; answers whether it was the other way before.
UPDATE {triggers} AS w SET enabled = %(enabled)s
  FROM (SELECT id, enabled FROM {triggers} WHERE name = %(name)s FOR UPDATE) AS before
 WHERE w.id = before.id
RETURNING before.enabled <> %(enabled)s
"""

_TRIGGERS = """\
-- List which tables are watched, and what is there of them.
SELECT w.name, coalesce(n.nspname::text, w.table_schema), coalesce(c.relname::text, w.table_name),
       w.operations, w.job::text, w.most, w.columns, w.condition::text, w.empty,
       w.channel IS NOT NULL, w.skip_errors, w.enabled, w.created_at,
       CASE WHEN c.oid IS NOT NULL THEN
            ARRAY(SELECT attname::text FROM pg_attribute
                   WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) END,
       ARRAY(SELECT upper(substr(t.tgname, 26 + length(w.id::text))) FROM pg_trigger AS t
              WHERE t.tgrelid = c.oid AND t.tgfoid = '{trigger_fired}()'::regprocedure
                AND t.tgenabled <> 'D'
                AND starts_with(t.tgname::text, 'chancy_trigger_' || substr(md5('{triggers}'), 1, 8)
                                                || '_' || w.id || '_'))
  FROM {triggers} AS w
  LEFT JOIN pg_class AS c ON c.oid = w.relation
  LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE %(name)s::text IS NULL OR w.name = %(name)s
 ORDER BY w.name
"""


@frozen
class Found:
    """A table that is to be watched."""

    #: What PostgreSQL calls this kind of relation: `r` is a table, `p` one that has partitions.
    kind: str
    #: As whom we are connected.
    role: str
    allowed: bool
    columns: frozenset[str]


def patience(names: Names) -> Statement[None]:
    """Wait for locks for a moment only, in this transaction."""
    return Statement.written(_PATIENCE, names, {"timeout": LOCK_TIMEOUT}, nothing)


def find(names: Names, schema: str, table: str) -> Statement[Found | None]:
    """Find a table."""

    def read(rows: Sequence[Row]) -> Found | None:
        if not rows:
            return None
        kind, role, allowed, columns = rows[0]
        return Found(kind, role, allowed, frozenset(columns))

    return Statement.written(_FIND, names, {"schema": schema, "table": table}, read)


def store(names: Names, watch: Watch) -> Statement[bool]:
    """Store a trigger, or what it is by now; answers False if its table is not there (any more)."""
    what = f"the job of trigger {watch.name!r}"
    params = {
        "name": watch.name,
        "schema": watch.schema,
        "table": watch.table,
        "operations": list(watch.on),
        "job": codec.encode(watch.job.pack(), what),
        "most": watch.rows,
        "columns": watch.columns and list(watch.columns),
        "condition": None if watch.when is None else codec.encode(watch.when, f"when of {what}"),
        "empty": watch.empty,
        "channel": names.channel if watch.wake == "notify" else None,
        "skip_errors": watch.on_error == "skip",
        "enabled": watch.enabled,
    }
    return Statement.written(_STORE, names, params, bool)


def install(names: Names, name: str) -> Statement[int]:
    """Have the table of a trigger watched; answers how many of before could not be taken away."""
    return Statement.written(_INSTALL, names, {"name": name}, lambda rows: rows[0][0])


def remove(names: Names, name: str) -> Statement[int]:
    """Have its table watched no longer; answers how many triggers could not be taken away."""
    return Statement.written(_REMOVE, names, {"name": name}, lambda rows: rows[0][0] if rows else 0)


def delete(names: Names, name: str) -> Statement[bool]:
    """Forget a trigger, if there is one."""
    return Statement.written(_DELETE, names, {"name": name}, bool)


def switch(names: Names, name: str, *, on: bool) -> Statement[bool]:
    """Switch a trigger, if there is one; answers whether it was the other way before."""
    params = {"name": name, "enabled": on}
    return Statement.written(_SWITCH, names, params, lambda rows: rows[0][0])


def triggers(names: Names, name: str | None = None) -> Statement[list[Listed]]:
    """Answer all triggers, or that of a name, by name."""
    return Statement.written(_TRIGGERS, names, {"name": name}, Listed.read)
