"""One job from push to settled: through each executor, on both event loops."""

import os
import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import anyio
import pytest

import tests.jobs  # noqa: F401 - registers the jobs of the process queue
from chancy import Chancy, Job, Limit, Queue, Reference, State, Worker, job
from chancy_core.errors import InvalidJob, InvalidValue, JobFailed, JobNotFound, UnknownName

pytestmark = pytest.mark.anyio


@job(name="one.greet", queue="async")
async def greet(name: str) -> str:
    return f"hello, {name}"


@job(name="one.where", queue="thread")
def where() -> list[int]:
    return [os.getpid(), threading.get_ident()]


@job(name="one.fail", queue="async")
async def fail(code: int) -> None:
    raise RuntimeError(f"oh{chr(code)}no")


@job(name="one.sleep", queue="async", limits=[Limit(Limit.Type.TIME, 0.05)])
async def sleep() -> None:
    await anyio.sleep_forever()


@job(name="one.leave", queue="async")
async def leave() -> None:
    raise SystemExit(4)


@job(name="one.cancelled", queue="async")
async def cancelled() -> None:
    raise anyio.get_cancelled_exc_class()


@job(name="one.plain", queue="async")
def plain() -> None:
    """A plain function on a queue that runs coroutine functions."""


_tries: dict[str, int] = {}


@job(name="one.third_time", queue="async", max_attempts=5)
async def third_time(key: str) -> int:
    _tries[key] = _tries.get(key, 0) + 1
    if _tries[key] < 3:
        raise RuntimeError(f"try {_tries[key]}")
    return _tries[key]


QUEUES = (
    Queue("async", executor="async"),
    Queue("thread", executor="thread"),
    Queue("process", executor="process", concurrency=1),
)


@pytest.fixture
async def chancy(dsn):
    async with Chancy(dsn) as chancy:
        for queue in QUEUES:
            await chancy.declare(queue)
        yield chancy


async def test_each_executor_runs_a_job_and_its_result_is_stored(chancy: Chancy):
    jobs = [
        greet.bind(name="Ada"),
        where.bind(),
        Job("tests.jobs.add", kwargs={"a": 2, "b": 3}, queue="process"),
    ]
    async with Worker(chancy):
        references = await chancy.push_many(jobs)
        in_loop, in_thread, in_process = await chancy.wait_for_jobs(references, timeout=30)
    assert in_loop.result() == "hello, Ada"
    assert in_thread.result()[0] == os.getpid()
    assert in_thread.result()[1] != threading.get_ident()
    assert in_process.result() == 5
    for done in (in_loop, in_thread, in_process):
        assert done.state is State.SUCCEEDED
        assert (done.claims, done.attempts, done.crashes) == (1, 1, 0)
        assert done.created_at <= done.started_at <= done.finished_at


async def test_an_error_is_kept_with_its_traceback(chancy: Chancy):
    async with Worker(chancy):
        done = await chancy.wait_for_job(await chancy.push(fail.bind(code=0)), timeout=20)
    assert done.state is State.FAILED
    (error,) = done.errors
    assert (error.attempt, error.kind, error.type) == (1, "error", "RuntimeError")
    assert error.message == "oh\\x00no"
    assert "in fail" in error.traceback
    with pytest.raises(JobFailed, match="RuntimeError: oh"):
        done.result()


@pytest.mark.parametrize(
    ("asked", "kind", "type_"),
    [
        (sleep, "timeout", "TimeLimitExceeded"),
        (leave, "error", "SystemExit"),
        (cancelled, "error", None),
        (plain, "unsupported", "Unsupported"),
    ],
    ids=["timeout", "exit", "cancelled by itself", "wrong kind of function"],
)
async def test_whatever_a_job_does_is_its_own_outcome(chancy: Chancy, dsn: str, asked, kind, type_):
    async with Worker(chancy), Chancy(dsn) as producer:  # which does not know the queues
        references = await producer.push_many([asked.bind(), greet.bind(name="neighbour")])
        done, neighbour = await chancy.wait_for_jobs(references, timeout=20)
    assert done.state is State.FAILED
    assert done.errors[0].kind == kind
    assert type_ in (None, done.errors[0].type)
    assert neighbour.state is State.SUCCEEDED


async def test_a_job_is_tried_again_until_it_succeeds(chancy: Chancy, dsn: str):
    async with Worker(chancy):
        done = await chancy.wait_for_job(await chancy.push(third_time.bind(key=dsn)), timeout=20)
    assert done.result() == 3
    assert (done.attempts, done.claims) == (3, 3)
    assert [error.attempt for error in done.errors] == [1, 2]


async def test_a_scheduled_job_runs_when_it_is_due_and_not_before(chancy: Chancy):
    due = datetime.now(UTC) + timedelta(seconds=0.7)
    async with Worker(chancy):
        reference = await chancy.push(greet.bind(name="later").options(scheduled_at=due))
        assert (await chancy.get_job(reference)).state is State.SCHEDULED
        done = await chancy.wait_for_job(reference, timeout=20)
    assert done.started_at >= due
    assert done.started_at - due < timedelta(seconds=3)


async def test_a_unique_key_is_held_by_the_live_job_alone(chancy: Chancy):
    asked = greet.bind(name="once").options(unique_key="k")
    first, second = await chancy.push_many([asked, asked])
    assert first.new
    assert not second.new
    assert first == second
    async with Worker(chancy):
        await chancy.wait_for_job(first, timeout=20)
        third = await chancy.push(asked)
    assert third.new
    assert third != first


async def test_arguments_that_cannot_be_are_refused_where_they_are_given(chancy: Chancy):
    with pytest.raises(InvalidJob, match="missing a required argument: 'name'"):
        greet.bind()
    with pytest.raises(InvalidValue, match=r"one.greet.name: PostgreSQL stores no NUL"):
        await chancy.push(greet.bind(name="a\0b"))
    with pytest.raises(InvalidJob, match="push takes a Job"):
        await chancy.push(greet.func)
    with pytest.raises(UnknownName, match="async, dask, interpreter, process, subprocess, thread"):
        await chancy.declare(Queue("q", executor="warp"))


async def test_waiting_ends_at_its_timeout_and_for_jobs_that_do_not_exist(chancy: Chancy):
    reference = await chancy.push(greet.bind(name="nobody runs me"))
    with pytest.raises(TimeoutError):
        await chancy.wait_for_job(reference, timeout=0.05)
    with pytest.raises(JobNotFound):
        await chancy.wait_for_job(Reference(uuid4()))
