"""What applications ask: `Trigger`."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Unpack

from chancy_core.errors import InvalidValue
from chancy_core.function import JobFunction
from chancy_core.host import Application
from chancy_core.job import Job
from chancy_core.statement import Row, Statement
from chancy_plugins.trigger import statements
from chancy_plugins.trigger.statements import Found
from chancy_plugins.trigger.watch import (
    Listed,
    Settings,
    TriggerNotFound,
    TriggerRefused,
    Watch,
)

log = logging.getLogger("chancy.trigger")

#: What PostgreSQL calls what can be watched: a table, and one that has partitions.
_WATCHED = ("r", "p")


class Trigger:
    """The triggers of an application: jobs that statements push by changing a table.

        trigger = Trigger(chancy)
        await trigger.declare("orders", "orders", on=["INSERT"], job=ship, rows=100)

    Works inside `async with chancy`. Each call that names a trigger raises `TriggerNotFound` if
    there is none of this name.
    """

    def __init__(self, chancy: Application) -> None:
        self._app = chancy

    async def declare(
        self,
        name: str,
        table: str,
        *,
        job: Job | JobFunction[..., Any],
        **settings: Unpack[Settings],
    ) -> Listed:
        """Have each statement that changes a table push a job; answers what is stored.

        *on* says which statements: `INSERT`, `UPDATE`, `DELETE`, and `TRUNCATE`; the first three
        unless it is given. *schema* is the table's. The job is given up to *rows* changed rows,
        1,000 at most, with these *columns*, as its argument `rows`: as they are afterwards, or were
        if they are deleted. Only rows count that have in them what *when* says; a statement that
        changes none pushes a job only if *empty*. With `wake="notify"` workers are told at the
        commit. A job that cannot be pushed is an error of the statement, or with `on_error="skip"`
        a warning. It pushes nothing unless *enabled*. Declaring a name once more changes it.

        Raises `InvalidValue` for what makes no sense, such as a table or a column that is not
        there, and `TriggerRefused` if the role may not put a trigger on the table, or if others
        use it for so long that it cannot be had.
        """
        watch = self._watch(name, table, job, settings)
        *_, left = await self._change(table, *self._declaring(watch))
        _tell_left(name, left)
        return await self.trigger(name)

    def declare_ex(
        self,
        conn: Any,
        name: str,
        table: str,
        *,
        job: Job | JobFunction[..., Any],
        **settings: Unpack[Settings],
    ) -> Any:
        """Declare a trigger in the transaction of a psycopg connection; answers what is stored.

        As `declare` does, and awaited if the connection is asynchronous; but it waits for the table
        as long as the connection's own `lock_timeout` says.
        """
        asked = self._declaring(self._watch(name, table, job, settings))
        listed = statements.triggers(self._app.names, name)
        return _last(self._app.run_ex(conn, *asked, listed), lambda found: found[0])

    async def delete(self, name: str) -> None:
        """Have a table watched no longer. What was pushed stays."""
        table = (await self.trigger(name)).table
        left, _ = await self._change(table, *self._deleting(name))
        _tell_left(name, left)

    def delete_ex(self, conn: Any, name: str) -> Any:
        """Delete a trigger in the transaction of a psycopg connection."""
        return _last(self._app.run_ex(conn, *self._deleting(name)), lambda _: None)

    async def enable(self, name: str) -> bool:
        """Have a trigger push jobs again; answers whether it was switched off before."""
        return await self._app.database.run(self._switching(name, on=True))

    def enable_ex(self, conn: Any, name: str) -> Any:
        """Enable a trigger in the transaction of a psycopg connection."""
        return _last(self._app.run_ex(conn, self._switching(name, on=True)))

    async def disable(self, name: str) -> bool:
        """Have a trigger push nothing until it is enabled; answers whether it was on before."""
        return await self._app.database.run(self._switching(name, on=False))

    def disable_ex(self, conn: Any, name: str) -> Any:
        """Disable a trigger in the transaction of a psycopg connection."""
        return _last(self._app.run_ex(conn, self._switching(name, on=False)))

    async def triggers(self) -> list[Listed]:
        """Return all triggers, by name; those that cannot work say so by their `problem`."""
        return await self._app.database.run(statements.triggers(self._app.names))

    async def trigger(self, name: str) -> Listed:
        """Return a trigger."""
        found = await self._app.database.run(statements.triggers(self._app.names, name))
        if not found:
            raise _unknown(name)
        return found[0]

    def _watch(
        self, name: str, table: str, job: Job | JobFunction[..., Any], settings: Settings
    ) -> Watch:
        """Return what is asked for. Raises `InvalidValue` for what makes no sense."""
        watch = Watch(name=name, table=table, job=job, **settings)
        self._app.pushing([watch.sample])  # what cannot be pushed is refused here
        names = self._app.names
        if watch.schema == names.schema and watch.table.startswith(names.prefix):
            raise InvalidValue(
                f"trigger {watch.name!r}: {watch.table!r} is a table of Chancy's own: what is "
                "pushed would push again"
            )
        return watch

    def _declaring(self, watch: Watch) -> tuple[Statement[Any], ...]:
        names = self._app.names
        return (
            _checked(statements.find(names, watch.schema, watch.table), watch),
            _sure(statements.store(names, watch), watch),
            statements.install(names, watch.name),
        )

    def _deleting(self, name: str) -> tuple[Statement[Any], ...]:
        names = self._app.names
        return statements.remove(names, name), _there(statements.delete(names, name), name)

    def _switching(self, name: str, *, on: bool) -> Statement[bool]:
        return _there(statements.switch(self._app.names, name, on=on), name)

    async def _change(self, table: str, *asked: Statement[Any]) -> list[Any]:
        """Run statements in a transaction that gives way to whoever uses the table."""
        patience = statements.patience(self._app.names)
        try:
            return (await self._app.database.run(patience, *asked))[1:]
        except Exception as exc:
            if getattr(exc, "sqlstate", None) != "55P03":
                raise
            raise TriggerRefused(
                f"table {table!r} is in use by others, and could not be had within "
                f"{statements.LOCK_TIMEOUT}: try again when no long transaction writes it"
            ) from exc


def _tell_left(name: str, left: int) -> None:
    if left:
        log.warning(
            "trigger %r: %d triggers of PostgreSQL's stay on a table that belongs to another "
            "role; they do nothing, and that role can drop them",
            *(name, left),
        )


def _last(answers: Any, of: Callable[[Any], Any] = lambda answer: answer) -> Any:
    """Return something of the last answer, which is awaited if the answers are."""
    if isinstance(answers, list):
        return of(answers[-1])

    async def awaited() -> Any:
        return of((await answers)[-1])

    return awaited()


def _there(change: Statement[bool], name: str) -> Statement[bool]:
    """Say, where it is read, that there is no trigger of this name."""

    def read(rows: Sequence[Row]) -> bool:
        if not rows:
            raise _unknown(name)
        return change.read(rows)

    return Statement(change.text, change.params, read)


def _checked(find: Statement[Found | None], watch: Watch) -> Statement[None]:
    """Refuse, where it is read, what cannot be watched."""
    find_read = find.read

    def read(rows: Sequence[Row]) -> None:
        found, called = find_read(rows), f"{watch.schema}.{watch.table}"
        if found is None:
            raise InvalidValue(f"trigger {watch.name!r}: there is no table {called!r}")
        if found.kind not in _WATCHED:
            raise InvalidValue(f"trigger {watch.name!r}: {called!r} is no table")
        asked = {*(watch.columns or ()), *(watch.when or ())}
        if unknown := sorted(asked - found.columns):
            raise InvalidValue(
                f"trigger {watch.name!r}: {called!r} has no column "
                f"{', '.join(map(repr, unknown))}; it has {', '.join(sorted(found.columns))}"
            )
        if not found.allowed:
            raise TriggerRefused(
                f"trigger {watch.name!r}: role {found.role!r} may not put triggers on {called!r}: "
                f"its owner can GRANT TRIGGER ON it TO {found.role}"
            )

    return Statement(find.text, find.params, read)


def _sure(store: Statement[bool], watch: Watch) -> Statement[None]:
    """Refuse, where it is read, a table that has gone in this moment."""

    def read(rows: Sequence[Row]) -> None:
        if not rows:
            raise InvalidValue(f"trigger {watch.name!r}: its table is gone")

    return Statement(store.text, store.params, read)


def _unknown(name: str) -> TriggerNotFound:
    return TriggerNotFound(f"no trigger has the name {name!r}; `Trigger.triggers` lists all")
