"""The schema of one installation: brought up to date, and compared with this code."""

import abc
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import anyio

from chancy_core import discovery
from chancy_core.door import twin
from chancy_core.errors import MigrationsNeeded
from chancy_core.statement import Names

if TYPE_CHECKING:
    from chancy_core.migrate import Migrator
    from chancy_core.store.store import Store


class Schema(abc.ABC):
    """What can be asked of the schema, with a twin of each for threads; a part of `Chancy`."""

    names: Names

    @property
    @abc.abstractmethod
    def store(self) -> "Store":
        """The tables of this installation."""

    @abc.abstractmethod
    def _address(self) -> str:
        """Return how threads connect to the database."""

    def migrator(self) -> "Migrator":
        """Return what knows the migration lines of all that is installed, for this installation."""
        from chancy_core.migrate import Line, Migrator

        group = "chancy.migrations"
        known = {
            "core",
            *discovery.offers(group),
        }  # without `core` nothing fits: say who is missing
        lines = {name: discovery.find(group, name) for name in known}
        return Migrator(
            self.names,
            {name: Line.from_package(name, entry.value) for name, entry in lines.items()},
        )

    async def migrate(self, to: Mapping[str, int] | None = None) -> None:
        """Bring the schema to the newest version, or single lines to the version that *to* names.

        Safe to be called by any number of processes at once. Raises `MigrationError`.
        """
        async with self.store.pool.connection() as conn:
            await self.migrator().migrate(conn, to)

    async def check(self) -> None:
        """Raise `MigrationsNeeded`, which says what to run, if the schema does not fit."""
        async with self.store.pool.connection() as conn:
            await self.migrator().check(conn)

    async def is_up_to_date(self) -> bool:
        """Return whether this code can work with the schema as it is."""
        try:
            await self.check()
        except MigrationsNeeded:
            return False
        return True

    @twin
    def sync_migrate(self, to: Mapping[str, int] | None = None) -> None:
        """Bring the schema to the newest version, or lines to the version that *to* names."""
        anyio.run(self._alone, lambda migrator, conn: migrator.migrate(conn, to))

    @twin
    def sync_check(self) -> None:
        """Raise `MigrationsNeeded` if the schema does not fit this code."""
        anyio.run(self._alone, lambda migrator, conn: migrator.check(conn))

    @twin
    def sync_is_up_to_date(self) -> bool:
        """Return whether this code can work with the schema as it is."""
        try:
            self.sync_check()
        except MigrationsNeeded:
            return False
        return True

    async def _alone(self, use: "Callable[[Migrator, Any], Awaitable[None]]") -> None:
        from chancy_core.postgres import Connection

        conninfo = await anyio.to_thread.run_sync(self._address)
        async with await Connection[Any].connect(
            conninfo, autocommit=True, prepare_threshold=None
        ) as conn:
            await use(self.migrator(), conn)
