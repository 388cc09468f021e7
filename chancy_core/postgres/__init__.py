"""PostgreSQL for asyncio and trio: psycopg 3, waiting through anyio. Knows nothing of jobs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chancy_core.postgres.connection import Connection
    from chancy_core.postgres.dsn import conninfo
    from chancy_core.postgres.failures import CallTimeout, ConnectTimeout, PoolClosed, PoolExhausted
    from chancy_core.postgres.listener import Listener, Reconnected
    from chancy_core.postgres.pool import Lease, Pool
    from chancy_core.postgres.stats import PoolStats

__all__ = [
    "CallTimeout",
    "ConnectTimeout",
    "Connection",
    "Lease",
    "Listener",
    "Pool",
    "PoolClosed",
    "PoolExhausted",
    "PoolStats",
    "Reconnected",
    "conninfo",
]

_ROOMS = {
    "CallTimeout": "failures",
    "ConnectTimeout": "failures",
    "Connection": "connection",
    "Lease": "pool",
    "Listener": "listener",
    "Pool": "pool",
    "PoolClosed": "failures",
    "PoolExhausted": "failures",
    "PoolStats": "stats",
    "Reconnected": "listener",
    "conninfo": "dsn",
}


def __getattr__(name: str) -> Any:
    # Lazily: `import chancy` must not load psycopg before a database is used.
    if name not in _ROOMS:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
