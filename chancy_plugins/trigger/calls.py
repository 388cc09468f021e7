"""What applications ask: `Trigger`."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chancy_core.errors import InvalidValue
from chancy_core.function import JobFunction
from chancy_core.host import Application
from chancy_core.job import Job
from chancy_core.statement import Row, Statement
from chancy_plugins.trigger import statements
from chancy_plugins.trigger.statements import Found
from chancy_plugins.trigger.watch import Listed, TriggerNotFound, TriggerRefused, Watch

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
        on: str | Iterable[str] = ("INSERT", "UPDATE", "DELETE"),
        job: Job | JobFunction[..., Any],
        schema: str = "public",
        rows: int = 0,
        columns: Iterable[str] | None = None,
        when: Mapping[str, Any] | None = None,
        empty: bool = False,
        wake: str = "poll",
        on_error: str = "raise",
        enabled: bool = True,
    ) -> Listed:
        """Have each statement that changes a table push a job; answers what is stored.

        *on* says which statements: `INSERT`, `UPDATE`, `DELETE`, `TRUNCATE`. The job is given up
        to *rows* changed rows, 1,000 at most, with these *columns*, as its argument `rows`: as they
        are afterwards, or were if they are deleted. Only rows count that have in them what *when*
        says; a statement that changes none pushes a job only if *empty*. With `wake="notify"`
        workers are told at the commit. A job that cannot be pushed is an error of the statement,
        or with `on_error="skip"` a warning. Declaring a name once more changes its trigger.

        Raises `InvalidValue` for what makes no sense, such as a table or a column that is not
        there, and `TriggerRefused` if the role may not put a trigger on the table, or if others
        use it for so long that it cannot be had.
        """
        watch = Watch(
            name=name,
            table=table,
            schema=schema,
            on=on,
            job=job,
            rows=rows,
            columns=columns,
            when=when,
            empty=empty,
            wake=wake,
            on_error=on_error,
            enabled=enabled,
        )
        self._app.pushing([watch.sample])  # what cannot be pushed is refused here
        self._refuse_ours(watch)
        names = self._app.names
        *_, left = await self._change(
            watch.table,
            _checked(statements.find(names, watch.schema, watch.table), watch),
            _sure(statements.store(names, watch), watch),
            statements.install(names, watch.name),
        )
        self._tell_left(watch.name, left)
        return await self.trigger(watch.name)

    async def delete(self, name: str) -> None:
        """Have a table watched no longer. What was pushed stays."""
        names = self._app.names
        left, gone = await self._change(
            (await self.trigger(name)).table,
            statements.remove(names, name),
            statements.delete(names, name),
        )
        if not gone:
            raise _unknown(name)
        self._tell_left(name, left)

    async def enable(self, name: str) -> bool:
        """Have a trigger push jobs again; answers whether it was switched off before."""
        return await self._switch(name, on=True)

    async def disable(self, name: str) -> bool:
        """Have a trigger push nothing until it is enabled; answers whether it was on before."""
        return await self._switch(name, on=False)

    async def triggers(self) -> list[Listed]:
        """Return all triggers, by name; those that cannot work say so by their `problem`."""
        return await self._app.database.run(statements.triggers(self._app.names))

    async def trigger(self, name: str) -> Listed:
        """Return a trigger."""
        found = await self._app.database.run(statements.triggers(self._app.names, name))
        if not found:
            raise _unknown(name)
        return found[0]

    async def _switch(self, name: str, *, on: bool) -> bool:
        changed = await self._app.database.run(statements.switch(self._app.names, name, on=on))
        if changed is None:
            raise _unknown(name)
        return changed

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

    def _refuse_ours(self, watch: Watch) -> None:
        names = self._app.names
        if watch.schema == names.schema and watch.table.startswith(names.prefix):
            raise InvalidValue(
                f"trigger {watch.name!r}: {watch.table!r} is a table of Chancy's own: what is "
                "pushed would push again"
            )

    def _tell_left(self, name: str, left: int) -> None:
        if left:
            log.warning(
                "trigger %r: %d triggers of PostgreSQL's stay on a table that belongs to another "
                "role; they do nothing, and that role can drop them",
                *(name, left),
            )


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
