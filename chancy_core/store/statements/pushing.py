"""How jobs are stored: one alone, any of them by one statement, many that are plain by COPY."""

from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from operator import attrgetter
from typing import Any
from uuid import UUID

from attrs import frozen

from chancy_core import codec, versions
from chancy_core.job import Job
from chancy_core.statement import Copy, Names, Statement
from chancy_core.store import rows
from chancy_core.store.statements.asking import ids_of

#: From so many jobs on, COPY takes half the time of the statement, or less.
MANY = 50
#: Characters that are sent at once, or more.
_PIECE = 16_384

_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_ASKED = (
    *("id", "queue", "func", "args", "meta", "limits", "priority", "max_attempts", "unique_key"),
    *("scheduled_at", "at_most_once", "exclusive", "keep_result"),
)
#: What few jobs of a push differ in, in the order in which it is copied.
_SETTINGS = attrgetter(
    *("queue", "func", "priority", "max_attempts", "at_most_once", "exclusive", "keep_result"),
    "limits",
)
_BOOLEANS = ("f", "t")


def push(names: Names, jobs: Mapping[UUID, Job]) -> Statement[AbstractSet[UUID]]:
    """Store *jobs* under their ids; answers those stored.

    Raises `InvalidValue` for what cannot be stored, before anything is sent.
    """
    asked = [_values(id_, job) for id_, job in jobs.items()]
    if len(asked) == 1:
        return Statement.of("push_one", names, asked[0], ids_of)
    params = {name: [values[name] for values in asked] for name in _ASKED}
    return Statement.of("push", names, params, ids_of)


def _values(id_: UUID, job: Job) -> dict[str, Any]:
    return {
        "id": id_,
        "queue": job.queue,
        "func": job.func,
        "args": _args(job),
        "meta": _meta(job),
        "limits": rows.limits_text(job.limits),
        "priority": job.priority,
        "max_attempts": job.max_attempts,
        "unique_key": job.unique_key,
        "scheduled_at": rows.instant(job.scheduled_at),
        "at_most_once": job.at_most_once,
        "exclusive": job.exclusive,
        "keep_result": job.keep_result,
    }


def fit_for_copy(jobs: Collection[Job]) -> bool:
    """Whether `push_many` can store these, and is worth it."""
    return len(jobs) >= MANY and all(
        job.unique_key is None and job.scheduled_at is None for job in jobs
    )


def push_many(
    names: Names, jobs: Mapping[UUID, Job], *, meanwhile: bool
) -> Copy[AbstractSet[UUID]]:
    """Store all of *jobs*, or none; they are `fit_for_copy`.

    Raises `InvalidValue` for what cannot be stored: before anything is sent, or, if *meanwhile*,
    where the statement is run: rows are then written while the server takes in those before.
    """
    rows = _Rows(jobs)
    return Copy.of_rows(
        "push_many", names, rows if meanwhile else tuple(rows), lambda _: jobs.keys()
    )


@frozen
class _Rows:
    """Jobs as COPY reads them, written whenever they are iterated over."""

    jobs: Mapping[UUID, Job]

    def __iter__(self) -> Iterator[str]:
        piece: list[str] = []
        size = 0
        for id_, job in self.jobs.items():
            line = _line(id_, job)
            piece.append(line)
            size += len(line)
            if size >= _PIECE:
                yield "".join(piece)
                piece, size = [], 0
        yield "".join(piece)


def _line(id_: UUID, job: Job) -> str:
    """Write a row as COPY reads it: its text format, in which a backslash begins an escape."""
    # JSON has nothing to be escaped but its own backslashes.
    meta = _meta(job).replace("\\", r"\\") if job.meta or job.version != 1 else "{}"
    args = _args(job)
    if "\\" in args:
        args = args.replace("\\", r"\\")
    return f"{id_.int:032x}\t{_settings(_SETTINGS(job))}\t{meta}\t{args}\n"


@lru_cache(maxsize=256)
def _settings(shared: tuple[Any, ...]) -> str:
    """Write what many jobs have in common."""
    queue, func, priority, max_attempts, *flags, limits = shared
    return "\t".join(
        (
            str.translate(queue, _ESCAPES),
            str.translate(func, _ESCAPES),
            "pending",
            int.__repr__(priority),
            int.__repr__(max_attempts),
            *(_BOOLEANS[flag] for flag in flags),
            rows.limits_text(limits) or r"\N",
        )
    )


def _args(job: Job) -> str:
    return codec.encode(job.kwargs, f"arguments of {job.func}")


def _meta(job: Job) -> str:
    return codec.encode(versions.written(job), f"meta of {job.func}")
