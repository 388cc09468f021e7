"""Jobs that fail, wait, give up and snooze, as workers run them: on each executor."""

from typing import Any

import pytest
from anyio import fail_after

import tests.jobs
from chancy import INJECTED, Chancy, Job, Queue, QueuedJob, Snooze, State, Worker, job
from chancy_core.outcome import Kind, Verdict
from chancy_plugins.retry import Retry, constant, exponential, per_minute, retry

pytestmark = pytest.mark.anyio

EVERY = ["async", "thread", "process"]


@job(name="retrying.second_time", queue="budgeted", max_attempts=2)
async def second_time(*, me: QueuedJob = INJECTED) -> int:
    if not me.attempts:
        raise RuntimeError("not yet")
    return me.attempts


@job(name="retrying.nap", queue="q", at_most_once=True)
async def nap() -> None:
    raise Snooze(0.05)


def suited(executor: str, func: str, **arguments: Any) -> Job:
    """Return a job of a function, or of its coroutine twin, for the queue that each test has."""
    made = getattr(tests.jobs, f"{func}_async" if executor == "async" else func)
    return made.options(queue="wherever").bind(**arguments)


async def ran(chancy: Chancy, executor: str, asked: Job) -> tuple[QueuedJob, list[Any]]:
    """Have a job run to its end; return it, and how each of its attempts was settled."""
    await chancy.declare(Queue("wherever", executor=executor, concurrency=2))
    settled: list[Any] = []
    worker = Worker(chancy)
    worker.events.on("job.settled", lambda event: settled.append(event.value[1:]))
    async with worker:
        done = await chancy.wait_for_job(await chancy.push(asked), timeout=30)
    return done, [(outcome.kind, verdict) for outcome, verdict in settled]


@pytest.mark.parametrize("executor", EVERY)
@pytest.mark.parametrize("how", ["retry_after", "attribute"])
async def test_what_an_exception_asks_for_is_waited(chancy: Chancy, executor: str, how: str):
    asked = suited(executor, "put_off", how=how, seconds=0.3).options(max_attempts=2)
    done, settled = await ran(chancy, executor, asked)
    assert settled == [
        (Kind.ERROR, Verdict(State.SCHEDULED, delay=0.3)),
        (Kind.SUCCESS, Verdict(State.SUCCEEDED)),
    ]
    assert (done.state, done.attempts, done.claims) == (State.SUCCEEDED, 2, 2)
    assert done.result() == {"attempts": 1, "errors": 1, "meta": {"said": how}}


@pytest.mark.parametrize("executor", EVERY)
async def test_a_job_that_snoozes_is_begun_again_and_charged_nothing(chancy: Chancy, executor: str):
    asked = suited(executor, "put_off", how="snooze", seconds=0.05, times=3)
    done, settled = await ran(chancy, executor, asked)
    snoozed = (Kind.SNOOZED, Verdict(State.SCHEDULED, counted=False, delay=0.05))
    assert settled == [snoozed] * 3 + [(Kind.SUCCESS, Verdict(State.SUCCEEDED))]
    assert (done.state, done.attempts, done.claims) == (State.SUCCEEDED, 1, 4)
    assert done.errors == ()
    assert done.result()["meta"] == done.meta == {"said": "snooze", "snoozed": 3}


async def test_what_may_begin_once_fails_when_it_snoozes(chancy: Chancy):
    async with Worker(chancy):
        done = await chancy.wait_for_job(await chancy.push(nap.bind()), timeout=20)
    assert (done.state, done.claims, done.attempts) == (State.FAILED, 1, 1)
    (error,) = done.errors
    assert "at_most_once leaves no second beginning" in error.message


@pytest.mark.parametrize("executor", EVERY)
async def test_a_policy_goes_by_the_class_wherever_it_was_raised(chancy: Chancy, executor: str):
    policy = constant(60).on(Exception, constant(60)).on("tests.jobs.Refusal", constant(0.05))
    asked = suited(executor, "fail", text="no").options(max_attempts=2, meta=retry(policy))
    done, settled = await ran(chancy, executor, asked)
    assert settled == [
        (Kind.ERROR, Verdict(State.SCHEDULED, delay=0.05)),
        (Kind.ERROR, Verdict(State.FAILED)),
    ]
    assert len(done.errors) == 2


@pytest.mark.parametrize("executor", EVERY)
async def test_a_job_is_given_up_on_what_its_policy_names(chancy: Chancy, executor: str):
    policy = constant(0.05).give_up_on(tests.jobs.Refusal)
    asked = suited(executor, "fail", text="no").options(max_attempts=9, meta=retry(policy))
    done, settled = await ran(chancy, executor, asked)
    assert settled == [(Kind.ERROR, Verdict(State.FAILED))]
    assert (done.state, done.attempts, len(done.errors)) == (State.FAILED, 1, 1)


async def test_a_job_is_given_up_once_it_is_old(chancy: Chancy):
    policy = exponential(0.1, jitter="none").give_up_after(1)
    asked = suited("async", "fail", text="no").options(max_attempts=9, meta=retry(policy))
    done, settled = await ran(chancy, "async", asked)
    waited = [verdict.delay for _, verdict in settled]
    assert waited[-1] == 0
    assert waited[:-1] == [0.1, 0.2, 0.4, 0.8][: len(waited) - 1]
    assert 1 < done.attempts < 5


async def test_policies_of_a_worker_are_for_jobs_that_bring_none(dsn: str):
    mail, web = constant(0.05), constant(0.07)
    plugin = Retry(functions={tests.jobs.fail_async: web}, queues={"wherever": mail})
    waits = {}
    async with Chancy(dsn, plugins=[plugin]) as chancy:
        for name, asked in {
            "function": suited("async", "fail", text="no"),
            "queue": suited("async", "leave_by_exit"),
            "job": suited("async", "fail", text="no").options(meta=retry(constant(0.09))),
        }.items():
            _, settled = await ran(chancy, "async", asked.options(max_attempts=2))
            waits[name] = [verdict.delay for _, verdict in settled]
    assert waits == {"function": [0.07, 0], "queue": [0.05, 0], "job": [0.09, 0]}


async def test_a_storm_of_retries_is_spread_and_loses_nothing(dsn: str):
    """Of 60 that fail at once, 20 in a second are tried again."""
    waits: list[float] = []
    async with Chancy(dsn, plugins=[Retry(budgets={"budgeted": per_minute(1200)})]) as chancy:
        await chancy.declare(Queue("budgeted", executor="async", concurrency=60))
        worker = Worker(chancy)
        worker.events.on("job.settled", lambda event: waits.append(event.value[2].delay))
        async with worker:
            references = await chancy.push_many([second_time.bind()] * 60)
            with fail_after(60):
                jobs = await chancy.wait_for_jobs(references)
    assert [one.result() for one in jobs] == [1] * 60
    assert {one.attempts for one in jobs} == {2}
    put_off = [wait for wait in waits if wait]
    assert len(put_off) > 10
    assert 0.3 < max(put_off) < 5
