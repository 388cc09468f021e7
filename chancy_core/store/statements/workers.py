"""The rows of workers, which are their leases."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from chancy_core.statement import Names, Statement, nothing
from chancy_core.store import roster
from chancy_core.store.statements.asking import ids_of


def announce(
    names: Names,
    worker: UUID,
    *,
    name: str,
    hostname: str,
    pid: int,
    tags: Iterable[str],
    lease: float,
    version: str | None = None,
    schema_version: int | None = None,
    settings: Mapping[str, Any] | None = None,
    clock: float | None = None,
) -> Statement[None]:
    """Begin a worker's incarnation, with a lease of *lease* seconds.

    What follows it is for others to compare; *clock* is the worker's own, in seconds of Unix time.
    """
    params = {
        "id": worker,
        "name": name,
        "hostname": hostname,
        "pid": pid,
        "tags": sorted(tags),
        "lease": lease,
        "version": version,
        "schema_version": schema_version,
        "settings": None if settings is None else json.dumps(settings),
        "clock": clock,
    }
    return Statement.of("announce", names, params, nothing)


def renew(
    names: Names,
    worker: UUID,
    lease: float,
    clock: float | None = None,
    running: str | None = None,
    *,
    faults: str | None = None,
) -> Statement[bool | None]:
    """Renew a worker's lease, by whose own clock it is *clock*, and which runs *running*, as JSON.

    *faults* are those of its plugins, as JSON, if there are others than it has told of.

    Answers whether `bury` would find somebody; None if the worker itself was declared dead.
    """
    params = {"id": worker, "lease": lease, "clock": clock, "running": running, "faults": faults}
    return Statement.of("renew", names, params, lambda found: found[0][0] if found else None)


def retire(names: Names, worker: UUID) -> Statement[None]:
    """Remove a worker's row."""
    return Statement.of("retire", names, {"id": worker}, nothing)


def bury(names: Names) -> Statement[set[UUID]]:
    """Declare workers dead whose lease has run out; answers which."""
    return Statement.of("bury", names, {}, ids_of)


def orphaned(names: Names) -> Statement[bool]:
    """Answer whether `rescue` would find jobs, once `bury` has found nobody."""
    return Statement.of("orphaned", names, {}, lambda found: bool(found[0][0]))


def workers(names: Names) -> Statement[list[roster.WorkerInfo]]:
    """Answer all workers that have a row."""
    return Statement.of("workers", names, {}, roster.workers)


def left_to_do(names: Names, queues: Sequence[str], *, name: str, pid: int) -> Statement[bool]:
    """Answer whether anything is due in *queues*, or runs on the worker *name* of a process."""
    params = {"queues": list(queues), "name": name, "pid": pid}
    return Statement.of("left_to_do", names, params, lambda found: bool(found[0][0]))
