"""Processor time: the seconds that processes have used, with all that their children have.

Each figure only grows: what was used meanwhile is the difference of two.
"""

from contextlib import suppress
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

import psutil
import psycopg


def of_this() -> float:
    """What this process has used, and its children: those that live and those that have ended."""
    ours = (getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in ours) + _below(psutil.Process())


def of_tree(first: psutil.Process) -> float:
    """What a process has used, and its children; of those that have ended, only Linux knows."""
    return _of(first) + _below(first)


def _below(first: psutil.Process) -> float:
    return sum(map(_of, first.children(recursive=True)))


def _of(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        return sum(process.cpu_times()[:4])  # its own and its ended children's, user and system
    return 0.0


def postmaster(dsn: str) -> psutil.Process | None:
    """The first of the server's processes; None if they are on another machine."""
    with psycopg.connect(dsn) as conn, suppress(psutil.NoSuchProcess):
        backend = psutil.Process(conn.info.backend_pid)
        if backend.name() == "postgres":
            return backend.parent()
    return None
