"""The rows of workers, which are their leases."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from chancy_core.statement import Names, Statement, nothing
from chancy_core.store import rows
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
) -> Statement[None]:
    """Begin a worker's incarnation, with a lease of *lease* seconds."""
    params = {
        "id": worker,
        "name": name,
        "hostname": hostname,
        "pid": pid,
        "tags": sorted(tags),
        "lease": lease,
    }
    return Statement.of("announce", names, params, nothing)


def renew(names: Names, worker: UUID, lease: float) -> Statement[bool]:
    """Renew a worker's lease; answers False if it was declared dead."""
    return Statement.of("renew", names, {"id": worker, "lease": lease}, bool)


def retire(names: Names, worker: UUID) -> Statement[None]:
    """Remove a worker's row."""
    return Statement.of("retire", names, {"id": worker}, nothing)


def bury(names: Names) -> Statement[set[UUID]]:
    """Declare workers dead whose lease has run out; answers which."""
    return Statement.of("bury", names, {}, ids_of)


def workers(names: Names) -> Statement[list[rows.WorkerInfo]]:
    """Answer all workers that have a row."""
    return Statement.of("workers", names, {}, rows.workers)


def left_to_do(names: Names, queues: Sequence[str], *, name: str, pid: int) -> Statement[bool]:
    """Answer whether anything is due in *queues*, or runs on the worker *name* of a process."""
    params = {"queues": list(queues), "name": name, "pid": pid}
    return Statement.of("left_to_do", names, params, lambda found: bool(found[0][0]))
