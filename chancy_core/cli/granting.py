"""`chancy roles`: who may do what in the database, and the SQL that has it so."""

from typing import Annotated

from attrs import asdict
from cyclopts import Parameter

from chancy_core.cli.failing import Refused
from chancy_core.cli.invocation import Here


async def roles(
    *,
    sql: Annotated[bool, Parameter(negative=())] = False,
    role_prefix: str = "",
    here: Here,
) -> None:
    """List what each of the roles push, work and look may do; no database is looked at.

    Parameters
    ----------
    sql
        Write the statements for psql that make the roles, and grant them that, instead.
    role_prefix
        With --sql: what the roles' names begin with, instead of chancy_.
    """
    from chancy_core.roles import RIGHTS, Roles

    migrator = here.app.migrator()
    migrations = [step for line in migrator.lines.values() for step in line.migrations]
    if not sql:
        if role_prefix:
            raise Refused("--role-prefix goes with --sql, which writes what makes the roles")
        rights = (*RIGHTS, *(right for step in migrations for right in step.rights))
        here.output.items(map(asdict, rights), ("role", "privilege", "on", "columns"))
        return
    made = Roles(migrator.names, role_prefix) if role_prefix else Roles(migrator.names)
    script = made.script(migrations)
    here.output.item({"sql": script}, script)
