"""What executors can do, and functions may need."""

import enum
from collections.abc import Iterable

from chancy_core.errors import InvalidJob
from chancy_core.showing import shown


class Capability(enum.Flag):
    """What an executor can do."""

    SYNC = enum.auto()  #: runs plain functions
    ASYNC = enum.auto()  #: runs coroutine functions
    HARD_KILL = enum.auto()  #: ends a job that does not listen
    MEMORY_LIMIT = enum.auto()  #: keeps the memory limits of jobs, on Linux
    COMMAND = enum.auto()  #: runs command lines that its queue allows, each by a name
    REMOTE = enum.auto()  #: what it runs outlives the worker: a later claim of the job finds it

    @property
    def words(self) -> str:
        """Its names, as people write them: `hard-kill and memory-limit`."""
        return " and ".join(_written(one) for one in self)


def _written(one: Capability) -> str:
    return (one.name or "").lower().replace("_", "-")


def needed(who: str, names: str | Iterable[str]) -> Capability:
    """Return the capabilities of these names, such as `hard-kill`.

    Raises `InvalidJob` for a name that is none; *who* gave it.
    """
    known = {_written(one): one for one in Capability}
    found = Capability(0)
    for name in [names] if isinstance(names, str) else names:
        if name not in known:
            raise InvalidJob(
                f"{who}: no executor has the capability {shown(name)}; there are {', '.join(known)}"
            )
        found |= known[name]
    return found
