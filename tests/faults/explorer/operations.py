"""What can be done at the same time: the code that workers and applications run, step by step.

An operation is a coroutine. Its answer is what its caller would be told; `laws` compare it with
the rows. An error that its caller knows how to take is an answer as well; any other is a finding.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID, uuid4

from chancy import Job, Queue, QueuedJob, State
from chancy_core.errors import ChancyError
from chancy_core.hooks import Plugin
from chancy_core.job import Failure
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_core.statement import Names, Statement, nothing
from chancy_core.store import pushing, requests, statements
from chancy_core.store.carrying import Request, carry_out
from chancy_core.store.store import TRANSIENT
from tests.faults.explorer.part import Part, operation
from tests.faults.explorer.situation import AT_ONCE, NAMES, announced
from tests.faults.explorer.wire import Cut, Step, Wire, asked

# -- what workers do -------------------------------------------------------------------------------


@operation("pending")
async def claim(part: Part) -> Any:
    """`Claimer._claim`."""
    return await part.run(statements.claim(NAMES, part.worker, {part.situation.queue: 3}))


@operation("pending")
async def claim_one(part: Part) -> Any:
    """The testing kit's; twice."""
    queues = [part.situation.queue]
    found = [
        await part.run(statements.claim_one(NAMES, part.worker, queues=queues)) for _ in range(2)
    ]
    return [claimed for claimed in found if claimed is not None]


@operation("limited")
async def claim_limited(part: Part) -> Any:
    """`Claimer._claim_limited`."""
    names, queue = NAMES, part.situation.queue
    async with part.wire.connection() as conn, conn.transaction():
        budget = await _on(conn, statements.rate_lock(names, queue))
        if budget is None or not budget[0]:
            return []
        asked = {queue: min(budget[0], 3)}
        claims = await _on(conn, statements.claim(names, part.worker, asked, limited=True))
        if claims:
            await _on(conn, statements.rate_charge(names, queue, len(claims)))
    return claims


@operation("pending")
async def work(part: Part) -> Any:
    """Claim, and succeed."""
    claims = await claim(part)
    return await _settle(part, [claimed.job for claimed in claims], SUCCESS)


@operation("running", "orphaned")
async def succeed(part: Part) -> Any:
    """What the holder runs has succeeded."""
    return await _settle(part, part.held(), SUCCESS)


@operation("running", "orphaned")
async def fail(part: Part) -> Any:
    """What the holder runs has failed, and is to be tried again: one at once, one later."""
    return await _settle(part, part.held(), FAILURE)


@operation("running")
async def leave(part: Part) -> Any:
    """The holder leaves: `Departure._give_back`, and `Heartbeat.stop`."""
    back = await part.run(statements.give_back(NAMES, part.situation.holder))
    await part.run(statements.retire(NAMES, part.situation.holder))
    return back


@operation("running")
async def audit(part: Part) -> Any:
    """The holder gives back what it does not know, as in `Holding._look_after`."""
    found = await part.run(statements.audit(NAMES, part.situation.holder, {}))
    leases = [lease for _, lease, _ in found]
    return await part.run(statements.give_back(NAMES, part.situation.holder, leases))


@operation("orphaned")
async def rescue(part: Part) -> Any:
    """`Heartbeat._rescue`."""
    async with part.wire.connection() as conn, conn.transaction():
        await _on(conn, statements.bury(NAMES))
        return await _on(conn, statements.rescue(NAMES, 3, AT_ONCE))


@operation("orphaned")
async def renew(part: Part) -> Any:
    """The holder is late, and renews: `Heartbeat._once`."""
    return await part.run(statements.renew(NAMES, part.situation.holder, 600.0))


@operation("due")
async def promote(part: Part) -> Any:
    return await part.run(statements.promote(NAMES))


@operation("running")
async def ensure_partitions(part: Part) -> Any:
    return await part.run(statements.ensure_partitions(NAMES))


@operation()
async def hand_over(part: Part) -> Any:
    """The holder gives back what it has, and somebody new claims that."""
    await part.run(statements.give_back(NAMES, part.situation.holder))
    new = uuid4()
    await part.run(announced(new, 600.0))
    return await part.run(statements.claim(NAMES, new, {part.situation.queue: 3}))


@operation()
async def hold_up(part: Part) -> Any:
    """Hold up statements that were changed by `HELD_UP`, after they have begun."""
    async with part.wire.connection() as conn, conn.transaction():
        await asked(Step("hold up", b"BEGIN; SELECT pg_advisory_xact_lock(1)"))
        await conn.give_up()


#: A condition that is true, but not before `hold_up` is over.
HELD_UP = "(SELECT pg_advisory_xact_lock_shared(1)::text) IS NOT NULL"


# -- what applications do --------------------------------------------------------------------------


@operation("running", "finished", "mixed")
async def push(part: Part) -> Any:
    """Push jobs under the keys of those that are there."""
    keys = [part.situation.key(id_) for id_ in part.ids]
    jobs = [Job("f", queue=part.situation.queue, unique_key=key) for key in keys]
    return await part.ask(pushing.push(NAMES, jobs, pushing.store_surely))


@operation("pending")
async def push_cut(part: Part) -> Any:
    """The first try of a push, of which nobody hears any more."""
    return await part.run(statements.push(NAMES, _asked(part)))


@operation("pending")
async def push_again(part: Part) -> Any:
    """The same push once more: its first try is in doubt."""
    lost = iter([Cut("the connection was lost")])

    async def run(statement: Statement[Any]) -> Any:
        for cut in lost:
            raise cut
        return await part.run(statement)

    return await carry_out(pushing.store_surely(NAMES, _asked(part)), run, lambda _: None)


@operation("pending", "running", "orphaned", "due", "mixed")
async def cancel(part: Part) -> Any:
    return await part.ask(requests.cancel(NAMES, part.ids))


@operation("pending", "running", "due", "mixed")
async def cancel_undone(part: Part) -> Any:
    """Cancel one in a transaction of the caller's, which is rolled back."""
    await _undone(part, requests.cancel(NAMES, [part.middle]))


@operation("finished", "mixed")
async def retry_undone(part: Part) -> Any:
    """Retry one in a transaction of the caller's, which is rolled back."""
    await _undone(part, requests.retry(NAMES, [part.middle]))


@operation("finished", "mixed", "due")
async def retry(part: Part) -> Any:
    return await part.ask(requests.retry(NAMES, part.ids))


@operation("pending", "finished", "mixed")
async def purge(part: Part) -> Any:
    return await part.ask(requests.purge(NAMES, part.ids))


@operation("running", "orphaned")
async def complete(part: Part) -> Any:
    """A job's function completes it in a transaction in which it writes something else."""
    return await _complete(part)


@operation("running")
async def complete_undone(part: Part) -> Any:
    """The same, but the transaction is rolled back."""
    return await _complete(part, undo=True)


@operation("pending", "limited")
async def pause(part: Part) -> Any:
    return await part.ask(requests.pause_queue(NAMES, part.situation.queue, None))


@operation("pending")
async def resume(part: Part) -> Any:
    return await part.ask(requests.resume_queue(NAMES, part.situation.queue))


@operation("pending", "limited")
async def declare(part: Part) -> Any:
    queue = Queue(part.situation.queue, concurrency=3)
    return await part.ask(requests.declare(NAMES, queue, upsert=True))


@operation("pending", "limited", "due")
async def delete_queue(part: Part) -> Any:
    return await part.ask(requests.delete_queue(NAMES, part.situation.queue, purge_jobs=True))


# -- how they do it --------------------------------------------------------------------------------

SUCCESS = Outcome(Kind.SUCCESS, "1")
FAILURE = Outcome(
    Kind.ERROR, failure=Failure(attempt=1, kind="error", type="ValueError", message="no")
)


async def _on(conn: Wire, statement: Statement[Any]) -> Any:
    answer = await conn.execute(statement.text, statement.params)
    return statement.read(await answer.fetchall())


async def _settle(part: Part, jobs: Iterable[QueuedJob], outcome: Outcome) -> Any:
    """`Settler._write`, with a plugin whose statements go along."""
    settled = [_settlement(job, outcome, float(n)) for n, job in enumerate(jobs)]
    again = False
    while settled:
        try:
            return await part.store.settle(settled, again=again, along=_along)
        except TRANSIENT:
            again = True
    return set()


def _settlement(job: QueuedJob, outcome: Outcome, delay: float) -> Settlement:
    if outcome is SUCCESS:
        return Settlement(job, outcome, Verdict(State.SUCCEEDED))
    return Settlement(
        job, outcome, Verdict(State.SCHEDULED if delay else State.PENDING, delay=delay)
    )


def _along(
    settled: Sequence[Settlement], names: Names
) -> Sequence[tuple[Plugin, Sequence[Statement[Any]]]]:
    plugin = Plugin("explorer", "tests", None)
    return [(plugin, [_effect(*(s.job.lease_id for s in settled))])]


def _effect(*leases: UUID | None) -> Statement[None]:
    text = "INSERT INTO explorer_effects (lease) SELECT unnest(%(leases)s::uuid[])"
    return Statement.written(text, NAMES, {"leases": list(leases)}, nothing)


def _asked(part: Part) -> dict[UUID, Job]:
    ids = part.situation.pushed
    return {id_: Job("f", queue=part.situation.queue) for id_ in ids}


async def _undone(part: Part, request: Request[Any]) -> None:
    async with part.wire.connection() as conn, conn.transaction():
        await carry_out(request, lambda s: _on(conn, s), lambda _: None)
        await conn.give_up()


async def _complete(part: Part, *, undo: bool = False) -> Any:
    job = next(job for job in part.held() if job.id == part.middle)
    try:
        async with part.wire.connection() as conn, conn.transaction():
            await carry_out(
                requests.complete(NAMES, job, 1), lambda s: _on(conn, s), lambda _: None
            )
            await _on(conn, _effect(job.lease_id))
            if undo:
                await conn.give_up()
    except ChancyError as exc:
        return exc
    return None if undo else job.id
