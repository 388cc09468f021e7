"""Who may do what in the database: five roles, and the SQL that makes them.

`RIGHTS` is the only list of what they may to what is the core's: the script, the page about roles
and its tests are held to it. What they may to the tables of a plugin stands in its migrations.
`owner` owns all objects and cannot log in, `migrate` is a member of it, and the other three have
the rights that are listed.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from attrs import field, frozen
from psycopg import sql

from chancy_core.errors import InvalidValue
from chancy_core.migrate import Migration, Right
from chancy_core.statement import Names, identifier, mentioned

#: What each role's name ends with. The last three have rights of their own.
ROLES = ("owner", "migrate", "push", "work", "look")
_GRANTED = ROLES[2:]
#: What of ours no file of a migration line names.
_BOOKKEEPING = ("migrations", "migration_lock")

_ASKED = (
    "id seq queue func args meta limits state priority max_attempts unique_key scheduled_at "
    "at_most_once exclusive keep_result"
)
_CHANGED = (
    "seq meta state priority attempts claims crashes worker lease_id cancelling scheduled_at "
    "started_at errors"
)
_DECLARED = (
    "concurrency tags executor executor_options polling_interval state resume_at rate_limit "
    "rate_limit_window eager_polling"
)
_ANNOUNCED = "id name hostname pid tags expires_at version schema_version settings clock_offset"


#: Beside these, `work` may all that `push` may, and `migrate` all that `owner` may.
RIGHTS = tuple(
    Right(*row)
    for row in (
        ("push", "USAGE", "schema", ""),
        ("push", "EXECUTE", "now()", ""),
        # A job that runs has a worker and a lease, which are not among these: a CHECK sees to it.
        ("push", "INSERT", "jobs", _ASKED),
        ("push", "SELECT", "jobs", "id queue unique_key state"),
        ("push", "USAGE", "jobs_seq_seq", ""),
        ("push", "SELECT", "history", "id finished_at"),
        ("push", "EXECUTE", "new_id()", ""),
        ("push", "EXECUTE", "push_packed(jsonb[], uuid[])", ""),
        ("push", "SELECT", "migrations", ""),
        ("work", "SELECT", "jobs", ""),
        ("work", "UPDATE", "jobs", _CHANGED),
        ("work", "DELETE", "jobs", ""),
        ("work", "SELECT", "history", "queue state lease_id"),
        ("work", "INSERT", "history", ""),
        ("work", "EXECUTE", "ensure_partitions(integer)", ""),
        ("work", "SELECT", "jobs_v1", ""),
        ("work", "SELECT", "queues", ""),
        ("work", "INSERT", "queues", f"name {_DECLARED}"),
        ("work", "UPDATE", "queues", f"{_DECLARED} updated_at"),
        ("work", "SELECT", "rates", ""),
        ("work", "INSERT", "rates", ""),
        ("work", "UPDATE", "rates", "tat rate_limit rate_limit_window"),
        ("work", "SELECT", "workers", ""),
        ("work", "INSERT", "workers", _ANNOUNCED),
        ("work", "UPDATE", "workers", "expires_at dead clock_offset running faults"),
        ("work", "DELETE", "workers", ""),
        ("look", "USAGE", "schema", ""),
        ("look", "EXECUTE", "now()", ""),
        ("look", "SELECT", "jobs", "queue state scheduled_at"),
        ("look", "SELECT", "history", "queue state finished_at"),
        ("look", "SELECT", "jobs_v1", ""),
        ("look", "SELECT", "queues", ""),
        ("look", "SELECT", "workers", ""),
        ("look", "SELECT", "migrations", ""),
    )
)

_MAKE = """\
DO $roles$
BEGIN
    {made}
    {joined}
    -- Who made a role is not always a member of it, and only members may give it something.
    IF NOT pg_has_role({owner_text}, 'USAGE') THEN
        GRANT {owner} TO CURRENT_USER;
    END IF;
END
$roles$;"""
_MADE = "IF to_regrole({text}) IS NULL THEN CREATE ROLE {role} {login}; END IF;"
_JOINED = (
    "IF NOT pg_has_role({member_text}, {of_text}, 'MEMBER') THEN GRANT {of} TO {member}; END IF;"
)

_OWN = """\
DO $owner$
DECLARE
    ours text[] := {ours};
    thing text;
BEGIN
    FOR thing IN
        SELECT format('TABLE %s', c.oid::regclass)
          FROM pg_class AS c LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
          LEFT JOIN pg_class AS parent ON parent.oid = i.inhparent
         WHERE c.relnamespace = {schema}::regnamespace
           AND coalesce(parent.relname, c.relname) = ANY(ours)
           AND c.relowner <> {owner}::regrole
           AND (c.relkind IN ('r', 'p', 'v', 'm') OR c.relkind = 'S' AND NOT EXISTS
                (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i')))
         UNION ALL
        SELECT format('ROUTINE %s', oid::regprocedure)
          FROM pg_proc
         WHERE pronamespace = {schema}::regnamespace AND proname = ANY(ours)
           AND proowner <> {owner}::regrole
    LOOP
        EXECUTE format('ALTER %s OWNER TO %s', thing, {owner}::regrole);
    END LOOP;
END
$owner$;"""


def _no_system_role(_: Any, __: Any, value: str) -> None:
    if value.startswith("pg_"):
        raise InvalidValue(f"names of roles that begin with 'pg_' are PostgreSQL's own: {value!r}")


@frozen
class Roles:
    """The five roles of the installation that *names* says; their names begin with *prefix*.

    Roles belong to the whole server: installations with the same prefix share theirs.
    """

    names: Names
    prefix: str = field(default="chancy_", validator=[identifier, _no_system_role])

    def __getitem__(self, role: str) -> str:
        """Return the name of a role, such as `work`, on the server."""
        return f"{self.prefix}{role}"

    def script(self, migrations: Iterable[Migration]) -> str:
        """Return the SQL that makes the roles and says what they may; it can be run again.

        All that *migrations* name belongs to the owner afterwards, and the others may what the
        core and they say.
        """
        migrations = tuple(migrations)
        rights = (*RIGHTS, *(right for one in migrations for right in one.rights))
        parts = [
            sql.SQL("BEGIN;"),
            sql.SQL("SET LOCAL lock_timeout = '5s';"),
            self._make(),
            sql.SQL("REVOKE CREATE ON {} FROM PUBLIC;").format(self._thing("schema")),
            sql.SQL("GRANT USAGE, CREATE ON {} TO {};").format(
                self._thing("schema"), self._role("owner")
            ),
            self._own(one.up.text for one in migrations),
            *self._grants(rights),
            sql.SQL("COMMIT;"),
        ]
        return sql.SQL("\n").join(parts).as_string() + "\n"

    def _make(self) -> sql.Composed:
        lines = sql.SQL("\n    ")
        made = (
            sql.SQL(_MADE).format(
                text=self[role],
                role=self._role(role),
                login=sql.SQL("NOLOGIN" if role == "owner" else "LOGIN"),
            )
            for role in ROLES
        )
        joined = (
            sql.SQL(_JOINED).format(
                member=self._role(member),
                member_text=self[member],
                of=self._role(of),
                of_text=self[of],
            )
            for member, of in (("migrate", "owner"), ("work", "push"))
        )
        return sql.SQL(_MAKE).format(
            made=lines.join(made),
            joined=lines.join(joined),
            owner=self._role("owner"),
            owner_text=self["owner"],
        )

    def _own(self, texts: Iterable[str]) -> sql.Composed:
        ours = {*_BOOKKEEPING}.union(*map(mentioned, texts))
        return sql.SQL(_OWN).format(
            ours=[f"{self.names.prefix}{name}" for name in sorted(ours)],
            schema=self.names.schema,
            owner=self["owner"],
        )

    def _grants(self, rights: Sequence[Right]) -> Iterator[sql.Composed]:
        """Take back what an older script may have granted, and grant what is listed."""
        granted = sql.SQL(", ").join(map(self._role, _GRANTED))
        for on in dict.fromkeys(right.on for right in rights if right.on != "schema"):
            yield sql.SQL("REVOKE ALL ON {} FROM PUBLIC, {};").format(self._thing(on), granted)
        for right in rights:
            yield sql.SQL("GRANT {} ON {} TO {};").format(
                _privilege(right), self._thing(right.on), self._role(right.role)
            )

    def _role(self, role: str) -> sql.Identifier:
        return sql.Identifier(self[role])

    def _thing(self, on: str) -> sql.Composed:
        if on == "schema":
            return sql.SQL("SCHEMA {}").format(sql.Identifier(self.names.schema))
        name, paren, arguments = on.partition("(")
        kind = "FUNCTION" if paren else "SEQUENCE" if name.endswith("_seq") else "TABLE"
        return sql.SQL("{} {}{}").format(
            sql.SQL(kind),
            sql.Identifier(self.names.schema, f"{self.names.prefix}{name}"),
            sql.SQL(paren + arguments),
        )


def _privilege(right: Right) -> sql.Composable:
    privilege = sql.SQL(right.privilege)
    if not right.columns:
        return privilege
    columns = sql.SQL(", ").join(map(sql.Identifier, right.columns))
    return sql.SQL("{} ({})").format(privilege, columns)
