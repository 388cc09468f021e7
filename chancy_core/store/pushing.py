"""How jobs are pushed, step by step: a request as those of `requests`, and the ways to store."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING
from uuid import UUID

from chancy_core import hint
from chancy_core.errors import DatabaseError
from chancy_core.hint import Hint
from chancy_core.identity import new_id
from chancy_core.job import Job, Reference
from chancy_core.statement import Names, Push
from chancy_core.store import statements
from chancy_core.store.carrying import Request

if TYPE_CHECKING:
    from psycopg import OperationalError

#: How often a push whose connection was lost is repeated.
AGAIN = 3
#: Stores jobs under their ids, and answers which were stored.
Storing = Callable[[Names, Mapping[UUID, Job]], Request[AbstractSet[UUID]]]


def push(
    names: Names, batch: Sequence[Job], store: Storing | None = None
) -> Request[list[Reference]]:
    """Store jobs; answers their references in this order.

    A job whose unique key a live job holds is not stored: that one is referred to. *store* is how
    they are stored: by default in a transaction of the caller's, whose commit is the caller's.
    """
    jobs = {new_id(): job for job in batch}
    stored = yield from (store or store_once)(names, jobs)
    if len(stored) == len(jobs):
        references = [Reference(id_) for id_ in jobs]
    else:
        references = yield from _refer(names, jobs, stored, store or store_once)
    yield from hints(batch)
    return references


def hints(jobs: Collection[Job]) -> Iterator[Hint]:
    """Yield what is told to workers once these are stored: for each queue, once."""
    due = {job.queue for job in jobs if job.scheduled_at is None}
    later = {job.queue for job in jobs if job.scheduled_at is not None}
    for name, queues in ((hint.PUSHED, due), (hint.SCHEDULED, later)):
        for queue in sorted(queues):
            yield Hint(name, queue)


def beside(names: Names, batch: Sequence[Job]) -> Push:
    """Return the statement that stores jobs beside others, which somebody else runs and tells of.

    Raises `InvalidValue` for what cannot be stored.
    """
    jobs = {new_id(): job for job in batch}
    made = statements.push(names, jobs)
    return Push(made.text, made.params, made.read, jobs)


def _refer(
    names: Names, jobs: Mapping[UUID, Job], stored: AbstractSet[UUID], store: Storing
) -> Request[list[Reference]]:
    """Find who holds the keys of those that were not stored."""
    references = {id_: Reference(id_) for id_ in stored}
    while rest := {id_: job for id_, job in jobs.items() if id_ not in references}:
        keys = [job.unique_key for job in rest.values() if job.unique_key is not None]
        held: dict[str, UUID] = (yield statements.holders(names, keys)) if keys else {}
        for id_, job in rest.items():
            if job.unique_key in held:
                references[id_] = Reference(held[job.unique_key], new=False)
        # Whoever held a key may have finished meanwhile: those jobs are pushed once more.
        if rest := {id_: job for id_, job in rest.items() if id_ not in references}:
            again = yield from store(names, rest)
            references |= {id_: Reference(id_) for id_ in again}
    return [references[id_] for id_ in jobs]


def store_once(
    names: Names, jobs: Mapping[UUID, Job], *, meanwhile: bool = False
) -> Request[AbstractSet[UUID]]:
    """Store jobs in a transaction of whoever runs this; answers the ids stored.

    What cannot be stored is refused before anything is sent, so that a transaction of the caller's
    goes on; unless *meanwhile*, which is faster.
    """
    from psycopg import NotSupportedError

    stored: AbstractSet[UUID]
    if statements.fit_for_copy(jobs.values()):
        try:
            stored = yield statements.push_many(names, jobs, meanwhile=meanwhile)
        except NotSupportedError:  # in a pipeline of the caller's, or under row-level security
            stored = yield statements.push(names, jobs)
    else:
        stored = yield statements.push(names, jobs)
    return stored


def store_surely(names: Names, jobs: Mapping[UUID, Job]) -> Request[AbstractSet[UUID]]:
    """Store jobs in a transaction of their own; answers the ids stored.

    If the connection is lost, it is not known whether the commit was: the push is repeated,
    without those jobs that had arrived after all, be they live or finished by now. So it is if
    that connection is lost too: a server that restarts ends them all.
    """
    from psycopg import OperationalError

    try:
        return (yield from store_once(names, jobs, meanwhile=True))
    except OperationalError as error:
        lost = error
    for _ in range(AGAIN):
        try:
            return (yield from _store_rest(names, jobs))
        except OperationalError as error:
            if not _is_lost(error):
                raise
            lost = error
    raise lost


def _is_lost(error: "OperationalError") -> bool:
    """Whether a connection broke, or its server ended it (57P): not what the server refuses."""
    if isinstance(error, DatabaseError):  # none was had within the time that there is
        return False
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


def _store_rest(names: Names, jobs: Mapping[UUID, Job]) -> Request[AbstractSet[UUID]]:
    """Store those that an earlier try did not; answers the ids of all that either did."""
    arrived: set[UUID] = yield statements.stored(names, list(jobs))
    rest = {id_: job for id_, job in jobs.items() if id_ not in arrived}
    if rest:
        again = yield statements.push(names, rest)
        # The first try may have been committing still: the second waited for it then.
        late = yield statements.stored(names, list(rest))
        arrived |= again | late
    return arrived
