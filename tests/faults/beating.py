"""A plugin with a service that asks the database, and says in the record that it does."""

from collections.abc import Iterable

import anyio

from chancy_core.hookspecs import hookimpl
from chancy_core.host import Service, WorkerHost
from chancy_core.statement import Statement
from tests.faults.record import say

#: Where to say it: set by the worker's process.
to: list[str] = []


class Beating:
    """Its service fails whenever the database does: what keeps it alive is the worker."""

    @hookimpl
    def chancy_worker_services(self, worker: WorkerHost) -> Iterable[Service]:
        async def beat() -> None:
            database = worker.chancy.database
            ask = Statement.written("SELECT 1", database.names, {}, lambda rows: rows)
            while True:
                await database.run(ask)
                say(to[0], "beat")
                await anyio.sleep(0.5)

        return [Service("beating", beat)]


plugin = Beating()
