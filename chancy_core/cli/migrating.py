"""`chancy migrate`: the schema, brought to a version, or written out for whoever does that."""

from collections.abc import Mapping
from typing import Annotated

from cyclopts import Parameter

from chancy_core.cli.failing import Refused
from chancy_core.cli.invocation import Here


async def migrate(
    *,
    to: tuple[str, ...] = (),
    sql: Annotated[bool, Parameter(negative=())] = False,
    since: tuple[str, ...] = (),
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    here: Here,
) -> None:
    """Bring the schema to the newest version. Safe to be run by any number at once.

    Parameters
    ----------
    to
        Bring a line to this version, up or down: core=3; the others stay as they are.
    sql
        Write the statements for psql instead, without looking at a database.
    since
        With --sql: the version that a line is at, core=2; without, nothing is there yet.
    dry_run
        Only say what would be done.
    """
    target = _versions(to) or None
    if since and not sql:
        raise Refused("--since goes with --sql; a database says itself where it is")
    if sql:
        script = here.app.migrator().script(target, since=_versions(since))
        here.output.item({"sql": script}, script)
        return
    async with here.chancy() as chancy, chancy.store.pool.connection() as conn:
        migrator = chancy.migrator()
        steps = await migrator.plan(conn, target)
        if not dry_run:
            with here.output.progress("migrating", len(steps)) as advance:
                steps = await migrator.migrate(conn, target, told=lambda _: advance(1))
    done = [
        {
            "line": step.migration.line,
            "version": step.migration.version,
            "name": step.migration.name,
            "way": step.way,
        }
        for step in steps
    ]
    here.output.items(done, ("line", "version", "name", "way"), "the schema is as it should be")


def _versions(words: tuple[str, ...]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for word in words:
        line, _, version = word.partition("=")
        if not version.isdecimal():
            raise Refused(f"{word!r} is no line and version, such as core=3")
        found[line] = int(version)
    return found
