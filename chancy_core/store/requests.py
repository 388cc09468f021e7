"""What applications ask of the store, step by step, wherever the steps are run.

A request is a generator: it yields a `Statement` and is sent its answer, or yields a `Hint` that
goes out once what was written is committed. Whoever has a connection can carry one out: our pool
(`Store.ask`), a synchronous one, or a transaction of the caller's. So each thing that can be asked
is written once.
"""

from collections.abc import Container, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from chancy_core import codec, hint
from chancy_core.errors import InvalidQueue, JobNotFound, LeaseLost, QueueNotFound
from chancy_core.filter import Answer, JobFilter, Page
from chancy_core.hint import Hint
from chancy_core.job import QueuedJob, State
from chancy_core.priority import Priority
from chancy_core.queue import Queue, named
from chancy_core.statement import Names, Statement
from chancy_core.store import statements
from chancy_core.store.carrying import Request
from chancy_core.store.history import into_history
from chancy_core.store.rows import Queues

T = TypeVar("T")

#: How many jobs one statement of a bulk call is about, at most.
BATCH = 1000
#: How often jobs are asked about that move while they are: what never can be moved has an end too.
ROUNDS = 10


def one(statement: Statement[T]) -> Request[T]:
    """Ask a single statement."""
    answer: T = yield statement
    return answer


def tell(hint: Hint) -> Request[None]:
    """Send a hint, and nothing else."""
    yield hint


# -- jobs that are there ---------------------------------------------------------------------------


def get_job(names: Names, id_: UUID) -> Request[QueuedJob]:
    """Find a job."""
    found: list[QueuedJob] = yield statements.jobs_by_id(names, [id_])
    if not found:
        raise JobNotFound(f"no job, live or finished, is {id_}")
    return found[0]


def get_jobs(names: Names, ids: Sequence[UUID]) -> Request[list[QueuedJob]]:
    """Find jobs by id, in no order."""
    return (yield statements.jobs_by_id(names, ids)) if ids else []


def list_jobs(names: Names, which: JobFilter, limit: int, before: UUID | None) -> Request[Page]:
    """Read one page."""
    jobs = yield statements.list_jobs(names, which, limit + 1, before)
    more = len(jobs) > limit
    return Page(jobs[:limit], jobs[limit - 1].id if more else None)


def _batches(names: Names, which: Iterable[UUID] | JobFilter) -> Request[list[list[UUID]]]:
    """Find the ids that are meant, in batches."""
    if not isinstance(which, JobFilter):
        ids = list(dict.fromkeys(which))
        return [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    batches: list[list[UUID]] = []
    before = None
    while True:
        jobs = yield statements.list_jobs(names, which, BATCH, before)
        if not jobs:
            return batches
        batches.append([job.id for job in jobs])
        before = jobs[-1].id


def cancel(names: Names, which: Iterable[UUID] | JobFilter) -> Request[list[Answer]]:
    """Cancel live jobs."""
    answers: list[Answer] = []
    for batch in (yield from _batches(names, which)):
        done: dict[UUID, str] = {}
        states: dict[UUID, State] = {}
        rest = batch
        while rest:
            done |= yield from into_history(names, statements.cancel(names, rest))
            states = yield from _left(names, batch, done)
            # Who is live and in no answer was being claimed at that very moment.
            rest = [id_ for id_, state in states.items() if not state.finished]
        for id_, what in done.items():
            yield Hint(hint.CANCELLED if what == "cancelling" else hint.FINISHED, str(id_))
        answers += [_answer(id_, done.get(id_), states.get(id_)) for id_ in batch]
    return answers


def retry(names: Names, which: Iterable[UUID] | JobFilter) -> Request[list[Answer]]:
    """Bring finished jobs back into their queues, and those for later forward."""
    answers: list[Answer] = []
    queues: set[str] = set()
    for batch in (yield from _batches(names, which)):
        done: dict[UUID, str] = {}
        states: dict[UUID, State] = {}
        held: set[UUID] = set()
        rest = batch
        for _ in range(ROUNDS):
            done |= yield statements.retry(names, rest)
            states = yield from _left(names, batch, done)
            held = yield from _held(names, [i for i, state in states.items() if state.finished])
            # Who could be brought back and was not was being moved at that very moment.
            movable = (i for i, s in states.items() if s.finished or s is State.SCHEDULED)
            rest = [id_ for id_ in movable if id_ not in held]
            if not rest:
                break
        queues |= set(done.values())
        for id_ in batch:
            if id_ in held:
                answers.append(Answer(id_, False, "a live job holds its unique key"))
            else:
                said = "pending" if id_ in done else None
                answers.append(_answer(id_, said, states.get(id_)))
    for queue in sorted(queues):
        yield Hint(hint.PUSHED, queue)
    return answers


def purge(names: Names, which: Iterable[UUID] | JobFilter) -> Request[list[Answer]]:
    """Delete jobs that are not running."""
    answers: list[Answer] = []
    for batch in (yield from _batches(names, which)):
        done: set[UUID] = set()
        states: dict[UUID, State] = {}
        rest = batch
        for _ in range(ROUNDS):
            done |= yield statements.purge(names, rest)
            states = yield from _left(names, batch, done)
            # Who does not run and was left was being moved at that very moment.
            rest = [id_ for id_, state in states.items() if state is not State.RUNNING]
            if not rest:
                break
        answers += [
            _answer(id_, "purged" if id_ in done else None, states.get(id_)) for id_ in batch
        ]
    return answers


def reprioritize(
    names: Names, which: Iterable[UUID] | JobFilter, change: Priority
) -> Request[list[Answer]]:
    """Give jobs that wait another priority."""
    answers: list[Answer] = []
    for batch in (yield from _batches(names, which)):
        done: dict[UUID, int] = {}
        states: dict[UUID, State] = {}
        rest = batch
        for _ in range(ROUNDS):
            more = dict.fromkeys(rest, change.by)
            done |= yield statements.reprioritize(names, more, priority=change.to, wait=True)
            states = yield from _left(names, batch, done)
            # Who waits and was left was being moved at that very moment.
            rest = [id_ for id_, s in states.items() if not s.finished and s is not State.RUNNING]
            if not rest:
                break
        for id_ in batch:
            said = f"priority {done[id_]}" if id_ in done else None
            answers.append(_answer(id_, said, states.get(id_)))
    return answers


def _left(names: Names, batch: Sequence[UUID], done: Container[UUID]) -> Request[dict[UUID, State]]:
    """Find where those jobs stand to which nothing was done, if they exist."""
    rest = [id_ for id_ in batch if id_ not in done]
    return (yield statements.states(names, rest)) if rest else {}


def _held(names: Names, finished: Sequence[UUID]) -> Request[set[UUID]]:
    """Find those finished jobs whose unique key another, a live one, holds."""
    if not finished:
        return set()
    jobs: list[QueuedJob] = yield statements.jobs_by_id(names, finished)
    keys = {job.id: job.unique_key for job in jobs if job.unique_key is not None}
    live = (yield statements.holders(names, list(keys.values()))) if keys else {}
    return {id_ for id_, key in keys.items() if live.get(key, id_) != id_}


def _answer(id_: UUID, done: str | None, state: State | None) -> Answer:
    if done is not None:
        return Answer(id_, True, done)
    return Answer(id_, False, "there is no such job" if state is None else f"it is {state}")


def complete(names: Names, job: QueuedJob, result: Any) -> Request[None]:
    """Settle a running job as succeeded."""
    text = codec.encode(result, f"result of {job.func}")
    if job.lease_id is None or not (yield statements.complete(names, job, text)):
        raise LeaseLost(
            f"job {job.id} ({job.func}) is not running under this lease (any more): "
            "another attempt may be, so this transaction must not be committed"
        )
    yield Hint(hint.FINISHED, str(job.id))


# -- queues ----------------------------------------------------------------------------------------


def declare(names: Names, queue: Queue, *, upsert: bool) -> Request[Queue]:
    """Store a queue's settings."""
    stored: Queue = yield statements.declare(names, queue, upsert=upsert)
    yield Hint(hint.DECLARED, queue.name)
    return stored


def get_queue(names: Names, name: str) -> Request[Queue]:
    """Find a queue. Raises `InvalidQueue` if somebody has written nonsense into its row."""
    found: Queues = yield statements.all_queues(names, [named(name)])
    if name in found.unsound:
        raise InvalidQueue(found.unsound[name])
    if not found.sound:
        raise _no_queue(name)
    return found.sound[0]


def pause_queue(names: Names, name: str, resume_at: datetime | timedelta | None) -> Request[None]:
    """Pause a queue."""
    if not (yield statements.pause_queue(names, named(name), resume_at)):
        raise _no_queue(name)
    yield Hint(hint.PAUSED, name)


def resume_queue(names: Names, name: str) -> Request[None]:
    """Make a queue active."""
    if not (yield statements.resume_queue(names, named(name))):
        raise _no_queue(name)
    yield Hint(hint.RESUMED, name)


def delete_queue(names: Names, name: str, *, purge_jobs: bool) -> Request[int]:
    """Delete a queue."""
    purged: int | None = yield statements.delete_queue(names, named(name), purge=purge_jobs)
    if purged is None:
        raise _no_queue(name)
    yield Hint(hint.DELETED, name)
    return purged


def _no_queue(name: str) -> QueueNotFound:
    return QueueNotFound(f"no queue is named {name!r}; declare it first")
