"""The server: whether it may be written to, keeps what it has taken, and passes hints on."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
from psycopg import sql

from chancy_core.diagnosis.finding import Finding
from chancy_core.errors import DatabaseError
from chancy_core.store import statements
from chancy_core.store.standing import Pin, Server

if TYPE_CHECKING:
    from chancy_core.app import Chancy

#: Seconds for which a transaction may keep dead rows from being removed.
PINNED = 300.0
#: Seconds in which a notification has to arrive.
HEARD = 2.0
#: How full the connections, and the queue of notifications, may be.
FULL = 0.9
CLOGGED = 0.5


async def look(chancy: "Chancy") -> AsyncIterator[Finding]:
    """Look at the server behind an installation, whatever the version of its tables is."""
    server = await chancy.store.run(statements.server(chancy.names))
    for finding in (*_writes(server), *_keeps(server), *_room(server)):
        yield finding
    for pin in await chancy.store.run(statements.pins(chancy.names, PINNED)):
        yield _pinned(pin)
    if not server.standby:  # there is no NOTIFY on one
        yield await _listen(chancy)


def _writes(server: Server) -> Iterator[Finding]:
    if server.standby:
        yield Finding(
            "server",
            False,
            "it is a standby: it takes no writes, and what is read there is late",
            "name the primary; with several hosts in the DSN, add target_session_attrs=read-write",
        )
    elif server.read_only:
        yield Finding(
            "server",
            False,
            "its transactions are read only: nothing can be pushed, claimed or settled",
            "set default_transaction_read_only = off, for the server, the database and the user",
        )
    else:
        yield Finding("server", True, "it is a primary, and takes writes")


def _keeps(server: Server) -> Iterator[Finding]:
    for name, is_on in (("fsync", server.fsync), ("full_page_writes", server.full_page_writes)):
        if not is_on:
            says = f"{name} is off: a crash of its machine may lose or corrupt everything"
            yield Finding("server", None, says, f"set {name} = on")
    if not server.synchronous:
        says = "synchronous_commit is off: a crash loses the last pushes and outcomes"
        yield Finding("server", None, says, "set synchronous_commit = on for our user or database")


def _room(server: Server) -> Iterator[Finding]:
    if server.connections >= FULL * server.max_connections:
        yield Finding(
            "server",
            None,
            f"{server.connections} of {server.max_connections} connections are in use",
            "lower max_connections of the applications, put a pooler between, or raise the "
            "server's own",
        )
    if server.notifications > CLOGGED:
        yield Finding(
            "notifications",
            False,
            f"their queue is full to {server.notifications:.0%}: at 100 % no push can tell of jobs",
            "end the session that listens and has been in a transaction for the longest time",
        )
    if not server.sees_all:
        yield Finding(
            "server",
            None,
            "our user does not see the sessions of others, nor what their transactions pin",
            "GRANT pg_read_all_stats to it",
        )


def _pinned(pin: Pin) -> Finding:
    since = "" if pin.seconds is None else f", for {pin.seconds:.0f} s"
    remedy = {
        "transaction": "end it: commit, or pg_terminate_backend; set "
        "idle_in_transaction_session_timeout",
        "prepared transaction": "COMMIT PREPARED or ROLLBACK PREPARED",
        "replication slot": "bring its reader back, or pg_drop_replication_slot",
    }[pin.kind]
    says = f"a {pin.kind} keeps dead rows from being removed{since}: {pin.who}"
    return Finding("horizon", False, f"{says}; claims become slower and slower", remedy)


async def _listen(chancy: "Chancy") -> Finding:
    if not chancy.notifications:
        says = "they are off: workers look for jobs at each polling interval of a queue"
        return Finding("notifications", None, says)
    try:
        heard = await _hears(chancy)
    except (psycopg.Error, DatabaseError) as exc:
        says = f"nobody can listen: {exc}"
        return Finding("notifications", False, says, "give listen_dsn an address that leads there")
    if heard:
        return Finding("notifications", True, "they arrive")
    return Finding(
        "notifications",
        False,
        f"none arrived within {HEARD:g} s: jobs wait for the next poll. A pooler in between "
        "forgets who listens",
        "give listen_dsn the server's own address, or one that is pooled by session",
    )


async def _hears(chancy: "Chancy") -> bool:
    """Send ourselves a notification, over the two ways that producers and workers take."""
    from chancy_core.postgres import Connection

    channel = f"chancy_check_{uuid4().hex}"
    ear = await Connection.connect(chancy.listen_conninfo, autocommit=True)
    async with ear:
        await ear.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        async with chancy.store.connection() as mouth:
            await mouth.execute("SELECT pg_notify(%s, '')", [channel])
        async for _ in ear.notifies(timeout=HEARD, stop_after=1):
            return True
    return False
