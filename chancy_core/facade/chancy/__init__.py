"""A job queue on PostgreSQL for asyncio and trio: what applications import.

    from chancy import Chancy, Worker, Queue, job

None of these names loads a database driver until a `Chancy` is opened.
"""

from chancy_core.app import Chancy as Chancy
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

__all__ = [
    "INJECTED",
    "Chancy",
    "Job",
    "JobFunction",
    "Limit",
    "Queue",
    "QueuedJob",
    "Reference",
    "State",
    "Worker",
    "job",
]
