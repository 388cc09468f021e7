# ruff: noqa: SLF001
"""All that this package uses of psycopg's private parts, listed and checked in one place.

psycopg has no public way to run on another event loop than asyncio's, so that a driver for anyio
must lean on names that may change without notice. `missing()` says which of them are gone; the
distribution bounds psycopg's version above, and a test calls it on every version we allow.
"""

import select
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from psycopg import (
    _connection_base,
    _conninfo_utils,
    _cursor_base,
    _pipeline_base,
    _preparing,
    transaction,
    waiting,
)

READ, WRITE = int(waiting.Wait.R), int(waiting.Wait.W)
WaitTimeout: type[psycopg.OperationalError] = psycopg.errors._WaitTimeout

_CONNECTION = (
    "lock cursor_factory server_cursor_factory _autocommit _adapters _notify_handlers"
    " _notifies_backlog _pipeline _prepared _closed _num_transactions"
)
_NEEDED: dict[object, str] = {
    psycopg.errors: "_WaitTimeout",
    psycopg.AsyncConnection: (
        "wait commit rollback cancel_safe _try_cancel _pipeline_nolock pipeline transaction"
        " _get_connection_params notifies close _check_connection_ok"
    ),
    _connection_base.BaseConnection: (
        "_connect_gen _cancel_gen _should_cancel _commit_gen _rollback_gen"
    ),
    _cursor_base.BaseCursor: "_start_copy_gen _select_current_result _close _conn",
    _pipeline_base.BasePipeline: "_enter_gen _exit_gen _exit",
    transaction.BaseTransaction: "_check_enter _enter_gen _exit_gen",
    _preparing.PrepareManager: "clear",
    _conninfo_utils: "get_param split_attempts is_ip_address",
}


def missing() -> list[str]:
    """The private names that this version of psycopg lacks; empty when all is well."""
    return [*_missing_names(), *_missing_attributes()]


def _missing_names() -> Iterator[str]:
    for owner, names in _NEEDED.items():
        where = getattr(owner, "__qualname__", None) or getattr(owner, "__name__", repr(owner))
        for name in names.split():
            if not hasattr(owner, name):
                yield f"{where}.{name}"


def _missing_attributes() -> Iterator[str]:
    """Attributes that exist on instances only: an unconnected PGconn is enough to see them."""
    pgconn = psycopg.pq.PGconn.connect_start(b"host=/nonexistent")
    connection = psycopg.AsyncConnection[Any](pgconn)
    pgconn.finish()
    for name in _CONNECTION.split():
        if not hasattr(connection, name):
            yield f"AsyncConnection().{name}"
    pipeline = psycopg.AsyncPipeline(connection, _no_lock=True)
    for name in ("_lock", "command_queue", "result_queue", "level"):
        if not hasattr(pipeline, name):
            yield f"AsyncPipeline().{name}"


def _poll(fd: int, wanted: int) -> int:
    poller = select.poll()
    poller.register(
        fd, (select.POLLIN if wanted & READ else 0) | (select.POLLOUT if wanted & WRITE else 0)
    )
    ready = 0
    for _, event in poller.poll(0):
        ready |= READ if event & select.POLLIN else 0
        ready |= WRITE if event & select.POLLOUT else 0
    return ready


# What of `wanted` is possible at this moment. psycopg 3.3.9 has it in C.
ready_now: Callable[[int, int], int] = getattr(waiting, "_ready", _poll)


def forget_prepared(connection: psycopg.AsyncConnection[Any]) -> None:
    """Let psycopg prepare anew, and have the server drop what it holds."""
    connection._prepared.clear()


def notify_backlog(connection: psycopg.AsyncConnection[Any]) -> deque[psycopg.Notify]:
    """Notifications that have arrived and were not asked for yet."""
    backlog = connection._notifies_backlog
    assert backlog is not None
    return backlog


def notify_handlers(
    connection: psycopg.AsyncConnection[Any],
) -> list[Callable[[psycopg.Notify], None]]:
    """What the user wants to be called with each notification."""
    return connection._notify_handlers


def set_autocommit(connection: psycopg.AsyncConnection[Any], value: bool) -> None:
    """Set the mode of a connection that is known to be outside of a transaction."""
    connection._autocommit = value


def is_name(host: str) -> bool:
    """Whether a host must be looked up: neither a socket's folder nor an address."""
    return bool(host) and host[0] not in "/@" and not _conninfo_utils.is_ip_address(host)


def hosts(params: dict[str, Any]) -> list[str]:
    """The hosts that a connection would try and has no address of, from the environment too."""
    if _conninfo_utils.get_param(params, "hostaddr"):
        return []
    return (_conninfo_utils.get_param(params, "host") or "").split(",")
