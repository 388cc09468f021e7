"""Our own tables: their version, their indexes, the history's coming days."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from chancy_core.diagnosis.finding import Finding
from chancy_core.store import statements
from chancy_core.store.standing import INDEXES, Built, Index

if TYPE_CHECKING:
    from chancy_core.app import Chancy
    from chancy_core.statement import Names

#: What REINDEX CONCURRENTLY leaves behind when it is cut off: the new index, or the old one.
_DEBRIS = re.compile(r"_cc(new|old)\d*$")


async def lines(chancy: "Chancy") -> AsyncIterator[Finding]:
    """Say of each migration line whether this code may run on it."""
    async with chancy.store.connection() as conn:
        found = await chancy.migrator().status(conn)
    for line in found:
        where = f"line {line.line!r} is at version {line.version}"
        if line.newest is None:
            yield Finding("schema", None, f"{where}, and no installed package knows it")
        else:
            yield Finding("schema", line.complaint is None, line.complaint or where)


async def look(chancy: "Chancy") -> AsyncIterator[Finding]:
    """Look at the tables of an installation whose version fits."""
    names = chancy.names
    wrong = list(_indexes(names, await chancy.store.run(statements.indexes(names))))
    for finding in wrong or [Finding("indexes", True, "all are there, and valid")]:
        yield finding
    missing = await chancy.store.run(statements.days_missing(names))
    if missing:
        yield Finding(
            "history",
            False,
            f"it has no partition for {' and '.join(missing)}: no job can be settled on that day",
            f"a worker makes them; or run SELECT {names.render('{ensure_partitions}')}()",
        )


def _indexes(names: "Names", found: Iterable[Built]) -> Iterator[Finding]:
    left = Counter(INDEXES)
    for built in found:
        if built.valid:
            left[built.index] -= 1
        else:
            left[built.index] -= not _DEBRIS.search(built.name)  # it is told of here
            yield _invalid(names, built)
    for index in sorted((index for index in INDEXES if left[index] > 0), key=str):
        yield Finding("indexes", False, f"missing: {index}", _made(names, index))


def _invalid(names: "Names", built: Built) -> Finding:
    if built.building:
        return Finding("indexes", None, f"{built.name} is being built")
    name = sql.Identifier(names.schema, built.name)
    says = f"{built.name} on {names.prefix}{built.index.table} is not valid: no query uses it"
    if _DEBRIS.search(built.name):
        return Finding("indexes", False, says, _command("DROP INDEX CONCURRENTLY {}", name))
    return Finding("indexes", False, says, _command("REINDEX INDEX CONCURRENTLY {}", name))


def _made(names: "Names", index: Index) -> str:
    table = sql.Identifier(names.schema, f"{names.prefix}{index.table}")
    if index.kind == "primary":
        columns = sql.SQL(index.definition.removeprefix("btree "))
        return _command("ALTER TABLE {} ADD PRIMARY KEY {}", table, columns)
    method = sql.SQL(index.definition)
    if index.kind:
        return _command("CREATE UNIQUE INDEX CONCURRENTLY ON {} USING {}", table, method)
    return _command("CREATE INDEX CONCURRENTLY ON {} USING {}", table, method)


def _command(text: LiteralString, *parts: sql.Composable) -> str:
    """Write a command that mends it, for people to run."""
    return sql.SQL(text).format(*parts).as_string()
