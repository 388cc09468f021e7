"""A job queue on PostgreSQL for asyncio and trio: what applications import.

    from chancy import Chancy, Worker, Queue, job

None of these names loads a database driver until a `Chancy` is opened. All errors that are
raised on purpose are drawn in `chancy_core.errors`; those that applications catch are here too.
"""

from typing import TYPE_CHECKING, Any

from chancy_core.app import Chancy as Chancy
from chancy_core.errors import ChancyError as ChancyError
from chancy_core.errors import InvalidValue as InvalidValue
from chancy_core.errors import JobFailed as JobFailed
from chancy_core.errors import JobNotFound as JobNotFound
from chancy_core.errors import LeaseLost as LeaseLost
from chancy_core.errors import MigrationsNeeded as MigrationsNeeded
from chancy_core.errors import QueueNotFound as QueueNotFound
from chancy_core.errors import RetryAfter as RetryAfter
from chancy_core.errors import Snooze as Snooze
from chancy_core.function import INJECTED as INJECTED
from chancy_core.function import JobFunction as JobFunction
from chancy_core.job import Job as Job
from chancy_core.job import Limit as Limit
from chancy_core.job import QueuedJob as QueuedJob
from chancy_core.job import Reference as Reference
from chancy_core.job import State as State
from chancy_core.queue import Queue as Queue
from chancy_core.registry import job as job
from chancy_core.worker import Worker as Worker

if TYPE_CHECKING:
    from chancy_core.events import Event as Event
    from chancy_core.filter import JobFilter as JobFilter

__all__ = [
    "INJECTED",
    "Chancy",
    "ChancyError",
    "Event",
    "InvalidValue",
    "Job",
    "JobFailed",
    "JobFilter",
    "JobFunction",
    "JobNotFound",
    "LeaseLost",
    "Limit",
    "MigrationsNeeded",
    "Queue",
    "QueueNotFound",
    "QueuedJob",
    "Reference",
    "RetryAfter",
    "Snooze",
    "State",
    "Worker",
    "job",
]

_LATER = {"Event": "chancy_core.events", "JobFilter": "chancy_core.filter"}


def __getattr__(name: str) -> Any:
    """Load what only some applications use when they first ask for it."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = found = getattr(import_module(_LATER[name]), name)
    return found
