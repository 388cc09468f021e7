"""What a command is given of the call that it answers: `Here`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

import psycopg
from anyio import to_thread
from attrs import define
from cyclopts import Parameter

from chancy_core.cli.output import Output
from chancy_core.cli.settings import Settings
from chancy_core.errors import EmbeddedError

if TYPE_CHECKING:
    from chancy_core.app import Chancy
    from chancy_core.embedded import Lease

#: What PostgreSQL says of a schema, a table, a column and a function that is not there.
_MISSING = frozenset({"3F000", "42P01", "42703", "42883"})


@define(slots=False)
class Invocation:
    """One call of `chancy`: its settings, what it has to say, and the application that it is for.

        async def refunds(day: str, *, here: Here) -> None:
            async with here.chancy() as chancy:
                here.output.say(f"{len(await chancy.get_all_queues())} queues")

    A command that has a keyword-only parameter annotated with `Here` is given it.
    """

    settings: Settings
    output: Output

    @cached_property
    def app(self) -> "Chancy":
        """The application, imported when this is first asked for; it is not open yet."""
        from chancy_core.cli.finding import find_app

        return find_app(self.settings)

    @asynccontextmanager
    async def chancy(self) -> "AsyncIterator[Chancy]":
        """Open the application; if nothing names a database, on a server that runs already.

        Raises `EmbeddedError` where none does.
        """
        app = self.app
        async with AsyncExitStack() as stack:
            if not app.dsn and not self.settings.dsn:
                lease = await to_thread.run_sync(_join)
                stack.push_async_callback(to_thread.run_sync, lease.close)
                stack.callback(setattr, app, "dsn", None)
                app.dsn = lease.dsn
            await stack.enter_async_context(app)
            try:
                yield app
            except psycopg.ProgrammingError as exc:
                if exc.sqlstate in _MISSING:
                    await app.check()  # which says what to run, if that is why
                raise


Here = Annotated[Invocation, Parameter(parse=False)]


def _join() -> "Lease":
    from chancy_core import embedded

    try:
        return embedded.join(start=False)
    except EmbeddedError as exc:
        raise EmbeddedError(
            f"no server: start one with `chancy dev`, or name one by --dsn or CHANCY_DSN ({exc})"
        ) from exc
