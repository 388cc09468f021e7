"""What a thread gives to a job: nobody can end it, so it is told, named, and not waited for."""

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import to_thread
from attrs import evolve, fields_dict

from chancy import INJECTED, Limit, Queue, QueuedJob, State, job
from chancy_core.errors import AttemptOver, InvalidValue, TimeLimitExceeded
from chancy_core.events import Events
from chancy_core.executor import JOB_THREAD, Call, ExecutorHost, Left
from chancy_core.function import JobFunction
from chancy_core.installed import find_executor
from chancy_core.outcome import Kind, Outcome, Settlement
from chancy_core.run import Attempt
from chancy_core.watchdog import Watchdog
from chancy_executors.thread import ThreadExecutor, ThreadOptions
from chancy_executors.work import Work
from tests.attempts import attempt, opened, running
from tests.unit.test_lane import serving

pytestmark = pytest.mark.anyio


class Hold:
    """What functions of one test do: say that they have begun, and go on until they may end."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.ended = threading.Event()
        #: What the function ended with.
        self.raised: BaseException | None = None

    async def until_begun(self) -> None:
        assert await to_thread.run_sync(partial(self.begun.acquire, timeout=10))

    async def until_ended(self) -> None:
        assert await to_thread.run_sync(self.ended.wait, 10)


#: By the names of the running tests.
holds: dict[str, Hold] = {}


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    named = request.node.name
    holds[named] = Hold()
    yield named
    holds[named].go.set()
    del holds[named]


@pytest.fixture
def hold(name: str) -> Hold:
    return holds[name]


@job
def stay(name: str) -> str:
    """Listen to nothing and nobody."""
    held = holds[name]
    held.begun.release()
    held.go.wait(20)
    return "too late"


@job
def stay_and_fail(name: str) -> None:
    stay.func(name)
    raise KeyError(name)


@job
def listen(name: str, *, me: QueuedJob = INJECTED) -> None:
    """Ask, as a loop does, whether it is to go on."""
    held = holds[name]
    held.begun.release()
    try:
        while not held.go.is_set():
            me.checkpoint()
            time.sleep(0.001)
    except BaseException as exc:
        held.raised = exc
        raise
    finally:
        held.ended.set()


@job
async def wait(name: str) -> None:
    held = holds[name]
    held.begun.release()
    try:
        await anyio.sleep_forever()
    finally:
        held.ended.set()


@job
async def block(name: str) -> None:
    """Hold up the event loop that this job has for itself."""
    stay.func(name)


def at(func: JobFunction[..., Any], *limits: Limit, **kwargs: Any) -> Attempt:
    """Return an attempt at a job of this module."""
    made = attempt("add", *limits, **kwargs)
    return Attempt(evolve(made.claimed, job=evolve(made.job, func=func.name)))


async def until(true: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not true():
            await anyio.sleep(0.002)


async def ended(tried: Attempt, executor: Any, hold: Hold, how: Callable[[], None]) -> Outcome:
    """Run an attempt, do something to it once it has begun, and return what came of it at once."""
    outcomes: list[Outcome] = []

    async def run() -> None:
        outcomes.append(await tried.run(executor))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await hold.until_begun()
        how()
        since = anyio.current_time()
    assert anyio.current_time() - since < 1
    return outcomes[0]


# -- what nobody can end ---------------------------------------------------------------------------


async def test_a_deadline_that_is_ignored_closes_the_attempt_and_tells_where_it_was(
    anyio_backend: str, name: str, hold: Hold, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "chancy.thread")
    async with opened("thread", anyio_backend) as executor:
        began = anyio.current_time()
        outcome = await at(stay, Limit(Limit.Type.TIME, 0.5), name=name).run(executor)
        assert anyio.current_time() - began < 2
        assert outcome.kind is Kind.TIMEOUT
        assert outcome.failure is not None
        assert outcome.failure.message == "it took longer than 0.5 s"
        stack = outcome.failure.traceback
        assert "When its time was over its function was here:" in stack
        assert "held.go.wait(20)" in stack
        assert "_perform" not in stack  # what is ours tells nothing
        (left,) = executor.left
        assert left.job.func == stay.name
        assert executor.concurrency == 8
        assert (await attempt("add", a=1, b=1).run(executor)).result == "2"
        hold.go.set()
        await until(lambda: not executor.left)
        assert left.where() == ""
    (told,) = (r.getMessage() for r in caplog.records if r.name == "chancy.thread")
    assert f"({stay.name}) returned" in told
    assert "thrown away" in told


async def test_what_is_raised_too_late_is_told_of_too(
    anyio_backend: str, name: str, hold: Hold, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "chancy.thread")
    async with opened("thread", anyio_backend) as executor:
        tried = at(stay_and_fail, name=name)
        await ended(tried, executor, hold, partial(tried.end, Kind.CANCELLED))
        hold.go.set()
        await until(lambda: not executor.left)
    assert f"({stay_and_fail.name}) raised KeyError" in caplog.text


@pytest.mark.parametrize("kind", [Kind.CANCELLED, Kind.SHUTDOWN])
async def test_a_function_that_does_not_listen_does_not_hold_up_its_end(
    anyio_backend: str, name: str, hold: Hold, kind: Kind
) -> None:
    async with opened("thread", anyio_backend) as executor:
        tried = at(stay, name=name)
        assert await ended(tried, executor, hold, partial(tried.end, kind)) == Outcome(kind)
        assert [left.job.id for left in executor.left] == [tried.job.id]
        hold.go.set()


async def test_a_call_that_is_cancelled_before_its_thread_begins_is_none(
    anyio_backend: str, name: str, hold: Hold
) -> None:
    async with opened("thread", anyio_backend) as executor:
        assert isinstance(executor, ThreadExecutor)
        claimed = at(stay, name=name).claimed
        work = Work(stay.name, stay.func, {"name": name}, anyio_backend)
        executor._leave(Call(claimed.job, claimed.arguments), work)
        assert executor.left == ()
        assert executor._perform(work) is None
    assert not hold.begun.acquire(blocking=False)


async def test_a_thread_has_the_name_of_its_job_while_it_runs_one(
    anyio_backend: str, name: str, hold: Hold
) -> None:
    async with opened("thread", anyio_backend) as executor:
        tried = at(stay, name=name)
        await ended(tried, executor, hold, partial(tried.end, Kind.CANCELLED))
        named = JOB_THREAD + stay.name
        assert [thread.name for thread in threading.enumerate()].count(named) == 1
        hold.go.set()
        await until(lambda: named not in {thread.name for thread in threading.enumerate()})


# -- those that listen -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.CANCELLED, Kind.SHUTDOWN])
async def test_a_loop_that_asks_ends_with_its_attempt(
    anyio_backend: str, name: str, hold: Hold, kind: Kind
) -> None:
    async with opened("thread", anyio_backend) as executor:
        tried = at(listen, name=name)
        outcome = await ended(tried, executor, hold, partial(tried.end, kind))
        await hold.until_ended()
    assert outcome.kind is kind
    assert isinstance(hold.raised, AttemptOver)
    assert str(tried.job.id) in str(hold.raised)


async def test_a_loop_that_asks_ends_when_its_attempt_is_cancelled_from_outside(
    anyio_backend: str, name: str, hold: Hold
) -> None:
    async with opened("thread", anyio_backend) as executor:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(at(listen, name=name).run, executor)
            await hold.until_begun()
            tasks.cancel_scope.cancel()
        await hold.until_ended()
    assert isinstance(hold.raised, AttemptOver)


async def test_a_loop_that_asks_ends_at_its_deadline(
    anyio_backend: str, name: str, hold: Hold
) -> None:
    async with opened("thread", anyio_backend) as executor:
        outcome = await at(listen, Limit(Limit.Type.TIME, 0.2), name=name).run(executor)
        await hold.until_ended()
    assert outcome.kind is Kind.TIMEOUT
    assert isinstance(hold.raised, TimeLimitExceeded)


def test_a_job_knows_that_its_attempt_is_over() -> None:
    me = running("add")
    assert not me.over
    assert not evolve(me, deadline=time.monotonic() + 60).over
    assert evolve(me, deadline=time.monotonic()).over


async def test_a_job_is_told_once_its_attempt_was_ended(
    anyio_backend: str, name: str, hold: Hold
) -> None:
    async with opened("thread", anyio_backend) as executor:
        tried = at(listen, name=name)
        await ended(tried, executor, hold, partial(tried.end, Kind.CANCELLED))
        await hold.until_ended()
    assert not tried.job.over  # its row's: it is the function's own that knows
    assert vars(tried.job).keys() == fields_dict(QueuedJob).keys()


async def test_a_coroutine_function_is_cancelled_on_its_own_loop(
    anyio_backend: str, name: str, hold: Hold
) -> None:
    async with opened("thread", anyio_backend) as executor:
        outcome = await at(wait, Limit(Limit.Type.TIME, 0.5), name=name).run(executor)
        await hold.until_ended()
        await until(lambda: not executor.left)
    assert outcome.kind is Kind.TIMEOUT
    assert outcome.failure is not None
    assert "await anyio.sleep_forever()" in outcome.failure.traceback


async def test_a_coroutine_function_that_blocks_its_own_loop_holds_up_nobody_elses(
    anyio_backend: str, name: str, hold: Hold
) -> None:
    async with opened("thread", anyio_backend) as executor:
        tried = at(block, name=name)
        await ended(tried, executor, hold, partial(tried.end, Kind.CANCELLED))
        (left,) = executor.left
        stack = left.where()
        assert "stay.func(name)" in stack
        assert "held.go.wait(20)" in stack
        assert "_await" not in stack
        hold.go.set()


# -- how many may be stuck -------------------------------------------------------------------------


async def cancel_all(lane: Any, count: int, hold: Hold) -> None:
    for _ in range(count):
        await hold.until_begun()
    for tried in tuple(lane.running):
        tried.end(Kind.CANCELLED)
    await lane.drained()


async def test_each_that_is_stuck_beyond_the_most_keeps_its_slot_until_it_ends(
    anyio_backend: str,
    name: str,
    hold: Hold,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chancy_core.lane.LATE", 0.0)
    monkeypatch.setattr("chancy_executors.stragglers.LATE", 0.0)
    settled: list[Settlement] = []
    executor = ThreadExecutor(ThreadOptions(max_stuck=1), 2, ExecutorHost((), anyio_backend))
    async with serving(executor, settled) as lane:
        for begun, free, said in ((1, 2, 0), (2, 0, 2)):
            lane.give([at(stay, name=name).claimed for _ in range(begun)])
            await cancel_all(lane, begun, hold)
            assert lane.free == lane.room == free
            assert caplog.text.count("than its max_stuck, 1: ") == said
        assert f"3 x {stay.name}. Until they end it does without so many of its" in caplog.text
        lane.give([attempt("add", a=1, b=1).claimed])  # claimed at the moment when that came
        await anyio.wait_all_tasks_blocked()
        lane.hand_back_late()
        assert settled[-1].verdict.state is State.PENDING
        assert not settled[-1].verdict.counted
        hold.go.set()
        await until(lambda: not executor.left)
        assert lane.free == 2
        lane.give([attempt("add", a=n, b=1).claimed for n in range(3)])
        await lane.drained()
    kinds = [settlement.outcome.kind for settlement in settled]
    assert kinds == [Kind.CANCELLED] * 3 + [Kind.SHUTDOWN] + [Kind.SUCCESS] * 3


@pytest.mark.parametrize(("most", "beyond"), [(0, 2), (1, 1), (2, 0), (8, 0)])
async def test_a_resize_holds_beside_what_is_stuck(
    anyio_backend: str, name: str, hold: Hold, most: int, beyond: int
) -> None:
    async with opened("thread", anyio_backend, max_stuck=most) as executor:
        for _ in range(2):
            tried = at(stay, name=name)
            await ended(tried, executor, hold, partial(tried.end, Kind.CANCELLED))
        for slots in (5, 1, 2):
            executor.resize(slots)
            assert executor.concurrency == max(0, slots - beyond)
        hold.go.set()
        await until(lambda: executor.concurrency == 2)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_stuck": -1}, "max_stuck must be 0 or more, not -1"),
        ({"max_stuck": "7"}, "must be of type int, not str"),
        ({"max_stuck": None}, "must be of type int, not NoneType"),
        ({"stuck": 7}, "stuck"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidValue, match=f"{problem}.* queue 'q': executor_options"):
        find_executor(Queue("q", executor="thread", executor_options=options))


# -- who is told -----------------------------------------------------------------------------------


def test_what_goes_on_is_named_and_again_when_it_has_lasted_twice_as_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    there = [Left(running("add", a=1, b=1), lambda: "where it is", since=now)]
    events, told = Events(), list[str]()
    events.on("job.stuck", lambda event: told.append(event.subject))
    dog = Watchdog("w", events, lambda: (), left=lambda: tuple(there))
    for now, times in ((1004, 0), (1006, 1), (1007, 1), (1011.9, 1), (1012, 2), (1023, 2)):  # noqa: B007
        dog.look()
        assert told == [str(there[0].job.id)] * times
    assert caplog.text.count("(tests.jobs.add) was told to end") == 2
    assert caplog.text.count("let it ask `checkpoint()` of its job") == 2
    assert caplog.text.count("where it is") == 2
    there.clear()
    now = 2000.0
    dog.look()
    assert len(told) == 2


async def test_what_goes_on_when_its_queue_is_closed_is_named(
    anyio_backend: str, name: str, hold: Hold, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened("thread", anyio_backend) as executor:
        tried = at(stay, name=name)
        await ended(tried, executor, hold, partial(tried.end, Kind.SHUTDOWN))
        since = anyio.current_time()
    assert anyio.current_time() - since < 1
    assert f"job {tried.job.id} ({stay.name}) goes on in its thread" in caplog.text
    assert "held.go.wait(20)" in caplog.text
    hold.go.set()
    await until(lambda: not executor.left)


async def test_what_listens_is_not_named_when_its_queue_is_closed(
    anyio_backend: str, name: str, hold: Hold, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened("thread", anyio_backend) as executor:
        tried = at(wait, name=name)
        await ended(tried, executor, hold, partial(tried.end, Kind.SHUTDOWN))
    assert "goes on" not in caplog.text


# -- what a thread knows ---------------------------------------------------------------------------

tenant = contextvars.ContextVar[str]("tenant")


@job
def ask() -> str:
    return _ask()


@job
async def ask_async() -> str:
    await anyio.sleep(0)
    return _ask()


def _ask() -> str:
    known = tenant.get()
    tenant.set("the job's own")
    return known


@pytest.mark.parametrize("func", [ask, ask_async])
async def test_context_variables_are_carried_into_the_thread(
    anyio_backend: str, func: JobFunction[[], Any]
) -> None:
    tenant.set("acme")
    async with opened("thread", anyio_backend) as executor:
        outcome = await at(func).run(executor)
    assert outcome == Outcome(Kind.SUCCESS, '"acme"')
    assert tenant.get() == "acme"
