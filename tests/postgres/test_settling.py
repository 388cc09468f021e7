"""Settling: an outcome counts once, under the lease that is current, and a poison costs itself."""

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve

from chancy import Job, QueuedJob, State
from chancy_core.hooks import Plugin
from chancy_core.identity import new_id
from chancy_core.job import Failure
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_core.statement import Names, Statement, nothing
from chancy_core.store import statements
from chancy_core.store.settling import Along, Wanted
from chancy_core.store.store import Store
from tests.postgres.stores import (
    NAMES,
    announce,
    claim,
    ended,
    failure,
    fetch,
    get,
    opened,
    push,
)

POISONS = {
    "no JSON": "{",
    "NUL": '"\\u0000"',
    "NaN": "NaN",
    "surrogate": '"\\ud800"',
    "no text": '"\ud800"',
    "raw NUL": '"\0"',
    "huge number": "1e200000",
    "nesting": "[" * 50_000 + "]" * 50_000,
}


def again(job: QueuedJob, *, delay: float = 0, counted: bool = True) -> Settlement:
    state = State.SCHEDULED if delay else State.PENDING
    verdict = Verdict(state, counted=counted, delay=delay)
    return Settlement(job, Outcome(Kind.ERROR, failure=failure()), verdict)


async def running(store: Store, count: int = 1) -> list[QueuedJob]:
    await push(store, *(Job("f", max_attempts=3) for _ in range(count)))
    return [claimed.job for claimed in await claim(store, count)]


async def drop_partitions(store: Store) -> None:
    for (name,) in await fetch(
        store,
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " JOIN pg_class c ON c.oid = inhrelid AND c.relkind = 'r'"
        " WHERE inhparent = '{history}'::regclass",
    ):
        await fetch(store, f"DROP TABLE {name}")


async def test_a_finished_job_moves_into_the_history_once(dsn: str) -> None:
    async with opened(dsn) as store:
        (job,) = await running(store)
        assert await store.settle([ended(job, Outcome(Kind.SUCCESS, '{"a":1}'))]) == {job.id}
        assert await store.settle([ended(job, Outcome(Kind.SUCCESS, "2"))]) == set()
        assert await fetch(store, "SELECT count(*) FROM {jobs}") == [(0,)]
        (found,) = await get(store, job.id)
        assert (found.state, found.result()) == (State.SUCCEEDED, {"a": 1})
        assert (found.attempts, found.claims, found.lease_id) == (1, 1, job.lease_id)
        assert found.finished_at is not None


@pytest.mark.parametrize("final", [True, False])
async def test_an_outcome_under_a_stale_lease_changes_nothing(dsn: str, final: bool) -> None:
    async with opened(dsn) as store:
        (job,) = await running(store)
        before = await fetch(store, "SELECT * FROM {jobs}")
        stale = evolve(job, lease_id=new_id())
        late = ended(stale) if final else again(stale)
        assert await store.settle([late]) == set()
        assert await fetch(store, "SELECT * FROM {jobs}") == before
        assert await fetch(store, "SELECT count(*) FROM {history}") == [(0,)]


async def test_an_outcome_counts_only_under_the_newest_of_two_leases(dsn: str) -> None:
    async with opened(dsn) as store:
        (old,) = await running(store)
        assert old.worker is not None
        await store.run(statements.give_back(NAMES, old.worker))
        (new,) = [claimed.job for claimed in await claim(store)]
        assert await store.settle([ended(old), again(old)]) == set()
        assert await store.settle([ended(new)]) == {new.id}


async def test_a_retry_goes_back_at_once_with_its_error(dsn: str) -> None:
    async with opened(dsn) as store:
        (job,) = await running(store)
        assert await store.settle([again(job)]) == {job.id}
        (found,) = [claimed.job for claimed in await claim(store)]
        assert (found.id, found.attempts, found.claims) == (job.id, 1, 2)
        assert found.errors == (failure(),)
        second = failure("still no", attempt=2)
        await store.settle([ended(found, Outcome(Kind.ERROR, failure=second), State.FAILED)])
        (found,) = await get(store, job.id)
        assert (found.state, found.attempts) == (State.FAILED, 2)
        assert found.errors == (failure(), second)


async def test_an_uncounted_return_changes_no_counter_but_claims(dsn: str) -> None:
    async with opened(dsn) as store:
        (job,) = await running(store)
        await store.settle([again(job, counted=False)])
        (found,) = await get(store, job.id)
        assert (found.state, found.attempts, found.crashes, found.claims) == ("pending", 0, 0, 1)
        assert (found.worker, found.lease_id, found.started_at) == (None, None, None)


async def test_a_delay_is_waited_for_and_ends_at_the_end_of_the_line(dsn: str) -> None:
    async with opened(dsn) as store:
        (delayed,) = await running(store)
        assert await store.settle([again(delayed, delay=30)]) == {delayed.id}
        (other,) = await push(store, Job("g"))
        (found,) = await get(store, delayed.id)
        assert found.state is State.SCHEDULED
        queues, wait = await store.run(statements.promote(NAMES))
        assert queues == []
        assert wait is not None
        assert 25 < wait <= 30
        await fetch(
            store, "UPDATE {jobs} SET scheduled_at = {now}() WHERE id = %(id)s", id=found.id
        )
        assert await store.run(statements.promote(NAMES)) == (["default"], None)
        assert [claimed.job.id for claimed in await claim(store)] == [other, delayed.id]


async def test_a_settle_in_doubt_knows_what_it_has_written(dsn: str) -> None:
    async with opened(dsn) as store:
        jobs = await running(store, 3)
        assert await store.settle([ended(jobs[0])]) == {jobs[0].id}
        foreign = evolve(jobs[1], lease_id=new_id())
        batch = [ended(jobs[0]), ended(foreign), ended(jobs[2])]
        assert await store.settle(batch, again=True) == {jobs[0].id, jobs[2].id}
        assert await store.settle(batch, again=True) == {jobs[0].id, jobs[2].id}
        assert await fetch(store, "SELECT count(*) FROM {history}") == [(2,)]


def check_poison(found: QueuedJob, poison: QueuedJob) -> None:
    assert found.id == poison.id
    assert found.state is State.FAILED
    assert found.returned is None
    (error,) = found.errors
    assert error.message.startswith("PostgreSQL refused what the attempt gave")
    assert (error.attempt, error.kind) == (1, "error")


@pytest.mark.parametrize("result", POISONS.values(), ids=POISONS.keys())
async def test_a_poison_among_fifty_is_replaced_alone(dsn: str, result: str) -> None:
    async with opened(dsn) as store:
        jobs = await running(store, 50)
        batch = [ended(job, Outcome(Kind.SUCCESS, f"{n}")) for n, job in enumerate(jobs)]
        batch[33] = ended(jobs[33], Outcome(Kind.SUCCESS, result))
        assert await store.settle(batch) == {job.id for job in jobs}
        found = await get(store, *(job.id for job in jobs))
        check_poison(found.pop(33), jobs[33])
        assert [job.result() for job in found] == [n for n in range(50) if n != 33]


async def test_a_poison_that_is_tried_again_keeps_its_verdict(dsn: str) -> None:
    async with opened(dsn) as store:
        good, poison = await running(store, 2)
        bad = Failure(attempt=1, kind="error", type="E", message="nul: \0")
        refused = evolve(again(poison), outcome=Outcome(Kind.ERROR, failure=bad))
        assert await store.settle([again(good), refused]) == {good.id, poison.id}
        found = await get(store, good.id, poison.id)
        assert [job.state for job in found] == [State.PENDING, State.PENDING]
        assert [job.attempts for job in found] == [1, 1]
        assert "PostgreSQL refused" in found[1].errors[0].message


@pytest.mark.parametrize("bad", [0, 1, None])
async def test_a_missing_partition_is_made_and_a_poison_does_not_hinder_it(
    dsn: str, bad: int | None
) -> None:
    async with opened(dsn) as store:
        jobs = await running(store, 2)
        await drop_partitions(store)
        batch = [ended(job) for job in jobs]
        if bad is not None:
            batch[bad] = ended(jobs[bad], Outcome(Kind.SUCCESS, "{"))
        assert await store.settle(batch) == {job.id for job in jobs}
        found = await get(store, *(job.id for job in jobs))
        for n, job in enumerate(found):
            if n == bad:
                check_poison(job, jobs[n])
            else:
                assert job.state is State.SUCCEEDED


async def test_a_poison_alone_on_a_day_without_a_partition(dsn: str) -> None:
    async with opened(dsn) as store:
        (job,) = await running(store)
        await drop_partitions(store)
        assert await store.settle([ended(job, Outcome(Kind.SUCCESS, "{"))]) == {job.id}
        check_poison((await get(store, job.id))[0], job)


async def test_a_worker_gives_back_what_it_holds_and_nothing_else(dsn: str) -> None:
    async with opened(dsn) as store:
        await push(store, *(Job("f") for _ in range(4)))
        leaver, stayer = await announce(store), await announce(store)
        given = {c.job.id for c in await claim(store, 2, worker=leaver)}
        kept = {c.job.id for c in await claim(store, 2, worker=stayer)}
        assert set(await store.run(statements.give_back(NAMES, leaver))) == given
        assert {job.state for job in await get(store, *given)} == {State.PENDING}
        assert {(job.state, job.worker) for job in await get(store, *kept)} == {("running", stayer)}


async def rescue(store: Store, crash_limit: int = 3) -> dict[Any, str]:
    await store.run(statements.bury(NAMES))
    taken = await store.run(statements.rescue(NAMES, crash_limit, 500))
    return {id_: state for id_, (_, state) in taken.items()}


async def test_the_jobs_of_the_dead_are_taken_back_and_of_the_living_not(dsn: str) -> None:
    async with opened(dsn) as store:
        live, dead, unknown = [await announce(store, lease) for lease in (60, -1, 60)]
        await push(store, *(Job("f") for _ in range(3)))
        held = {w: (await claim(store, 1, worker=w))[0].job.id for w in (live, dead, unknown)}
        await store.run(statements.retire(NAMES, unknown))
        assert await rescue(store) == {held[dead]: "pending", held[unknown]: "pending"}
        found = await get(store, held[live], held[dead], held[unknown])
        assert [job.state for job in found] == ["running", "pending", "pending"]
        assert [(job.crashes, job.attempts) for job in found] == [(0, 0), (1, 0), (1, 0)]
        assert await rescue(store) == {}


async def test_what_outlives_its_worker_is_charged_no_crash(dsn: str) -> None:
    """However often that happens; else it is treated like any other."""
    async with opened(dsn) as store:
        job, once, unwanted, here = await push(
            store, Job("f"), Job("f", at_most_once=True), Job("f"), Job("f", queue="here")
        )
        away = statements.rescue(NAMES, 2, 500, remote=["default", "other"])
        for turn in range(3):
            dead = await announce(store, -1)
            held = {c.job.id for c in await claim(store, worker=dead)}
            assert held == ({job, once, unwanted} if turn == 0 else {job})
            if turn == 0:
                await claim(store, worker=dead, queue="here")
                await store.run(statements.cancel(NAMES, [unwanted]))
            await store.run(statements.bury(NAMES))
            await store.run(away)
        found = await get(store, job, once, unwanted, here)
        assert [(one.state, one.crashes) for one in found] == [
            (State.PENDING, 0),
            (State.LOST, 0),
            (State.CANCELLED, 0),
            (State.PENDING, 1),
        ]


async def test_how_far_a_job_has_come_is_written_under_its_lease_alone(dsn: str) -> None:
    async with opened(dsn) as store:
        mine, theirs, done = await running(store, 3)
        stale = evolve(theirs, lease_id=new_id())
        await store.settle([ended(done)])
        told = [(job, '{"done": 1}') for job in (mine, stale, done)]
        assert await store.run(statements.progress(NAMES, told)) == {mine.id}
        found = await get(store, mine.id, theirs.id, done.id)
        assert [job.meta for job in found] == [{"progress": {"done": 1}}, {}, {}]


async def test_a_rescue_in_haste_takes_the_jobs_of_the_dead_alone(dsn: str) -> None:
    """Who has no row is looked for by a thorough one: see `Pace`."""
    async with opened(dsn) as store:
        workers = [await announce(store, lease) for lease in (60, -1, 60)]
        await push(store, *(Job("f") for _ in range(3)))
        held = [(await claim(store, 1, worker=worker))[0].job.id for worker in workers]
        await store.run(statements.retire(NAMES, workers[2]))
        await store.run(statements.bury(NAMES))
        assert set(await store.run(statements.rescue(NAMES, 3, 9, thorough=False))) == {held[1]}
        assert set(await store.run(statements.rescue(NAMES, 3, 9))) == {held[2]}


async def test_an_audit_in_haste_finds_what_is_to_be_cancelled_alone(dsn: str) -> None:
    async with opened(dsn) as store:
        worker = await announce(store)
        await push(store, *(Job("f") for _ in range(4)))
        known, wanted, unknown, both = [c.job for c in await claim(store, worker=worker)]
        await store.run(statements.cancel(NAMES, [wanted.id, both.id]))
        leases = {job.lease_id: job.id for job in (known, wanted) if job.lease_id}
        asked = statements.audit(NAMES, worker, leases, thorough=False)
        assert await store.run(asked) == [(wanted.id, wanted.lease_id, True)]
        found = await store.run(statements.audit(NAMES, worker, leases))
        assert {id_: cancelling for id_, _, cancelling in found} == {
            wanted.id: True,
            unknown.id: False,
            both.id: True,
        }


@pytest.mark.parametrize("fate", ["lost", "cancelled", "quarantined", "given back"])
async def test_an_outcome_in_doubt_is_not_taken_for_what_others_wrote(dsn: str, fate: str) -> None:
    """The holder comes back, its first try is cut off, and it asks whether that was written."""
    async with opened(dsn) as store:
        (id_,) = await push(store, Job("f", at_most_once=fate in {"lost", "given back"}))
        holder = await announce(store, lease=-1)
        (held,) = await claim(store, worker=holder)
        if fate == "cancelled":
            await store.run(statements.cancel(NAMES, [id_]))
        if fate == "given back":
            assert set(await store.run(statements.give_back(NAMES, holder))) == {id_}
        else:
            assert await rescue(store, crash_limit=1) == {id_: fate}
        assert await store.settle([ended(held.job)], again=True) == set()


async def test_a_job_whose_workers_die_too_often_is_quarantined(dsn: str) -> None:
    async with opened(dsn) as store:
        (id_,) = await push(store, Job("f", unique_key="k"))
        for fate in ("pending", "pending", "quarantined"):
            await claim(store, worker=await announce(store, lease=-1))
            assert await rescue(store, crash_limit=3) == {id_: fate}
        (found,) = await get(store, id_)
        assert (found.state, found.crashes, found.claims) == (State.QUARANTINED, 3, 3)
        await push(store, Job("f", unique_key="k"))


def noting(asked: list[set[Any]]) -> Along:
    """A plugin's part: it writes down whom it is asked about, and whom it is run for."""

    def along(settled: Sequence[Settlement], names: Names) -> Wanted:
        ids = [s.job.id for s in settled]
        asked.append(set(ids))
        text = "INSERT INTO {noted} SELECT unnest(%(ids)s::uuid[])"
        mine = Plugin("mine", "here", object())
        return [(mine, [Statement.written(text, names, {"ids": ids}, nothing)])]

    return along


async def test_plugins_are_asked_once_more_if_some_outcomes_come_too_late(dsn: str) -> None:
    async with opened(dsn) as store:
        await fetch(store, "CREATE TABLE {noted} (id uuid)")
        asked: list[set[Any]] = []
        good, late = await running(store, 2)
        late = evolve(late, lease_id=new_id())
        counted = await store.settle([ended(good), ended(late)], along=noting(asked))
        assert counted == {good.id}
        assert asked == [{good.id, late.id}, {good.id}]
        assert await fetch(store, "SELECT id FROM {noted}") == [(good.id,)]

        assert await store.settle([ended(late)], along=noting(asked)) == set()
        assert asked[2:] == [{late.id}]
        assert await fetch(store, "SELECT id FROM {noted}") == [(good.id,)]


async def test_no_transaction_is_opened_for_plugins_that_have_nothing_to_say(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(dsn) as store:
        (job,) = await running(store)
        ran: list[int] = []
        whole = Store.run

        async def run(self: Store, *several: Any) -> Any:
            ran.append(len(several))
            return await whole(self, *several)

        monkeypatch.setattr(Store, "run", run)
        assert await store.settle([ended(job)], along=lambda _, __: ()) == {job.id}
        assert ran == [1]
