"""The rows of workers to values: who there is, and what each of them runs."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any
from uuid import UUID

from attrs import frozen

from chancy_core import codec, tags
from chancy_core.progress import Progress
from chancy_core.queue import Queue
from chancy_core.statement import Row

#: What reading JSON of the wrong shape may raise.
_NONSENSE = (ValueError, TypeError, KeyError, AttributeError, OverflowError)


@frozen
class RunningJob:
    """A job that a worker runs, and what it has taken so far, if that can be known."""

    id: UUID
    func: str
    queue: str
    started_at: datetime
    #: The process that runs nothing else meanwhile, and the thread, by the system's numbers.
    pid: int | None = None
    thread: int | None = None
    #: Seconds of processor time, and bytes of resident memory, of that process or thread.
    cpu: float | None = None
    memory: int | None = None
    #: How far it has come, as its function said last.
    progress: Progress | None = None


@frozen
class Snapshot:
    """What a worker runs: of many jobs those that have run for longest, and how many more."""

    jobs: tuple[RunningJob, ...]
    more: int
    #: Seconds of processor time, and bytes of resident memory, of the worker's own process.
    cpu: float | None = None
    memory: int | None = None


@frozen
class Fault:
    """What has gone wrong with a plugin of a worker, as the worker tells it."""

    #: The plugin, and the distribution that it is from.
    plugin: str
    origin: str
    #: Its hook, or its service.
    hook: str
    #: How often that has failed; 0 for a service that says what keeps it from its work just now.
    times: int
    #: What was said the last time.
    said: str
    #: How many seconds ago that was, when the row was read.
    ago: float


@frozen
class WorkerInfo:
    """The row of a worker's incarnation, which is its lease."""

    id: UUID
    name: str
    hostname: str
    pid: int
    tags: frozenset[str]
    started_at: datetime
    expires_at: datetime
    #: Whether the lease holds.
    alive: bool
    #: Of its code: the version, and the newest migration of the core that it knows. None, as what
    #: follows, for one of a release that did not tell.
    version: str | None = None
    schema_version: int | None = None
    #: Its settings: `crash_limit`, `lease` and `notifications`, about which workers must agree, and
    #: `queues`, to which it keeps.
    settings: Mapping[str, Any] | None = None
    #: Seconds by which its clock was ahead of the database's when it last renewed its lease.
    clock_offset: float | None = None
    #: What it ran when it last renewed its lease; None while nobody watches (`chancy top`).
    running: Snapshot | None = None
    #: When its row was read, by the database's clock.
    read_at: datetime | None = None
    #: What has gone wrong with its plugins, the last first: of many faults the last few.
    faults: tuple[Fault, ...] = ()

    def matches(self, queue: Queue) -> bool:
        """Return whether the queue's tags are for this worker, be it alive or not."""
        return tags.matches(queue.tags, self.tags)


def workers(rows: Sequence[Row]) -> list[WorkerInfo]:
    """Read rows of workers."""
    return [
        WorkerInfo(
            id=row[0],
            name=row[1],
            hostname=row[2],
            pid=row[3],
            tags=_tags(row[4]),
            started_at=row[5],
            expires_at=row[6],
            alive=row[7],
            version=row[8],
            schema_version=row[9],
            settings=_settings(row[10]),
            clock_offset=row[11] if isfinite(row[11] or 0) else None,
            running=_running(row[12]),
            read_at=row[13],
            faults=_faults(row[14], row[13]),
        )
        for row in rows
    ]


def _settings(text: str | None) -> Mapping[str, Any] | None:
    """Read settings: those that somebody wrote by hand and that make no sense are none."""
    try:
        return codec.as_object(text) if text else None
    except _NONSENSE:
        return None


def _tags(stored: Iterable[Any]) -> frozenset[str]:
    """Read tags: in a row that somebody wrote by hand they may be anything."""
    return frozenset(map(str, stored))


def _running(text: str | None) -> Snapshot | None:
    """Read what a worker runs, as `load` writes it; what makes no sense is nothing."""
    if not text:
        return None
    try:
        found = codec.as_object(text)
        jobs = tuple(map(_running_job, found["jobs"]))
        return Snapshot(jobs, int(found["more"]), found.get("cpu"), found.get("memory"))
    except _NONSENSE:
        return None


def _faults(text: str | None, read_at: datetime) -> tuple[Fault, ...]:
    """Read the faults of plugins, as `plugins.faults` writes them; what makes no sense is none."""
    if not text:
        return ()
    try:
        found = codec.as_object(text)
        since = (read_at - datetime.fromisoformat(found["at"])).total_seconds()
        return tuple(_fault(told, max(0.0, since)) for told in found["told"])
    except _NONSENSE:
        return ()


def _fault(told: Mapping[str, Any], since: float) -> Fault:
    texts = {name: str(told[name]) for name in ("plugin", "origin", "hook", "said")}
    ago = float(told["ago"]) + since
    return Fault(times=int(told["times"]), ago=ago if isfinite(ago) else 0.0, **texts)


def _running_job(told: Mapping[str, Any]) -> RunningJob:
    return RunningJob(
        id=UUID(told["id"]),
        func=told["func"],
        queue=told["queue"],
        started_at=datetime.fromisoformat(told["started_at"]),
        progress=Progress.read(told.get("progress")),
        **{name: told.get(name) for name in ("pid", "thread", "cpu", "memory")},
    )
