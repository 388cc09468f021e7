"""Whatever a plugin does, the worker goes on, no job is lost, and the log names who did it."""

import contextlib
import itertools
import logging
import re

import anyio
import pytest

from chancy import INJECTED, Chancy, Queue, QueuedJob, State, Worker, job
from chancy_core import watchdog
from chancy_core.outcome import Rescued
from chancy_core.plugins import contexts, observing, working
from tests import hostile
from tests.hostile import OBSERVERS, SPECS, Contexts, Harm
from tests.site import Site
from tests.told import hearing

pytestmark = pytest.mark.anyio

#: Whom the log must name.
WHO = "plugin acme (acme-harm 6.6)"


@job(queue="q", max_attempts=2)
async def innocent(number: int, *, job: QueuedJob = INJECTED) -> int:
    if number % 2 and not job.attempts:
        raise ValueError(number)
    return number


@job(queue="threads")
def threaded(number: int) -> int:
    return number


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture):
    """Return which hooks the log says have failed, of the plugin that is installed."""
    caplog.set_level(logging.WARNING, "chancy")

    def told() -> set[str]:
        pattern = re.escape(WHO) + r": (chancy_\w+|its service '\w+')"
        return {match[1] for match in re.finditer(pattern, caplog.text)}

    return told


def install(site: Site, name: str) -> None:
    site.install("acme-harm", f"acme = tests.hostile:{name}", version="6.6", group="chancy.plugins")


async def work(dsn: str, *plugins: object, rescued: bool = True) -> Chancy:
    """Have jobs done, half of them at the second attempt, beside whatever is installed."""
    async with Chancy(dsn, plugins=plugins) as chancy:
        await chancy.declare(Queue("q", executor="async", concurrency=4))
        await chancy.declare(Queue("threads", executor="thread", concurrency=4))
        async with hearing(Worker(chancy, signals=False)) as worker:
            if rescued:
                tell_of_rescued(worker)
            asked = [innocent.bind(number=n) for n in range(10)]
            asked += [threaded.bind(number=n) for n in range(10)]
            references = await chancy.push_many(asked)
            jobs = await chancy.wait_for_jobs(references, timeout=30)
            assert [one.result() for one in jobs] == [*range(10), *range(10)]
            assert [one.attempts for one in jobs] == [1, 2] * 5 + [1] * 10
            assert {one.claims - one.attempts for one in jobs} == {0}
        return chancy


def tell_of_rescued(worker: Worker) -> None:
    """Have the worker tell of a rescue, which would take ten seconds."""
    heard = worker.events.on("worker.*", lambda _: None)
    heard()
    assert worker.lanes is not None
    plugins = worker.lanes._plugins
    plugins.observers.tell(
        "chancy_jobs_rescued", rescued=[Rescued(job=None, queue="q", state=State.PENDING)]
    )


@pytest.mark.parametrize("name", ["raising", "leaving"])
async def test_a_plugin_that_raises_in_every_hook(name, dsn, site, told):
    install(site, name)
    await work(dsn)
    # What nobody asks for here: a function that is not registered, and an argument.
    assert told() == SPECS.keys() - {"chancy_resolve_function", "chancy_job_kwargs"}


async def test_a_plugin_whose_answers_make_no_sense(dsn, site, told):
    install(site, "answering")
    await work(dsn)
    silent = {"chancy_configure", "chancy_jobs_pushed", *OBSERVERS}
    assert told() == SPECS.keys() - silent - {"chancy_resolve_function", "chancy_job_kwargs"}


async def test_a_plugin_that_hangs(dsn, site, told, monkeypatch):
    install(site, "hanging")
    monkeypatch.setattr(working, "BUDGET", 0.1)
    monkeypatch.setattr(observing, "LIMIT", 0.01)
    await work(dsn)
    assert told() == {"chancy_fetch_budget", *OBSERVERS}


async def test_a_worker_leaves_without_observers_that_hang(dsn, site, monkeypatch):
    install(site, "hanging")
    monkeypatch.setattr(working, "BUDGET", 0.1)
    monkeypatch.setattr("chancy_core.departure.OBSERVING", 0.2)
    with anyio.fail_after(20):
        await work(dsn)


async def test_an_observer_that_is_too_slow_misses_some_and_is_named(dsn, site, told, monkeypatch):
    install(site, "hanging")
    monkeypatch.setattr(working, "BUDGET", 0.1)
    monkeypatch.setattr("chancy_core.departure.OBSERVING", 0.0)
    monkeypatch.setattr(observing, "KEPT", 1)
    await work(dsn)
    assert "chancy_notified" in told()


async def test_a_plugin_that_blocks_the_event_loop(dsn, site, caplog, monkeypatch):
    # Some are called before the worker lives, by who pushes, or where something is missing.
    elsewhere = {"chancy_configure", "chancy_jobs_pushed", "chancy_job_meta"}
    elsewhere |= {"chancy_worker_services", "chancy_resolve_function", "chancy_job_kwargs"}

    def named(hook: str) -> bool:
        return hook in elsewhere or any(
            f"It is blocked by {WHO}" in record.getMessage() and f" {hook}\n" in record.getMessage()
            for record in caplog.records
        )

    monkeypatch.setattr(hostile, "blocker", hostile.blocking(named), raising=False)
    monkeypatch.setattr(watchdog, "BLOCKED", 0.1)
    monkeypatch.setattr(watchdog, "TICK", 0.02)
    install(site, "blocker")
    await work(dsn)
    assert {hook for hook in SPECS if named(hook)} == SPECS.keys()


@pytest.mark.parametrize("hook", ["chancy_call_context", "chancy_job_context"])
@pytest.mark.parametrize(
    ("enter", "leave"),
    [(hostile.harm, hostile.nothing), (hostile.nothing, hostile.harm), (hostile.nothing,) * 2],
    ids=["entering", "leaving", "swallowing"],
)
async def test_a_context_that_fails(hook, enter, leave, dsn, caplog):
    plugin = hostile.hostile(lambda *_: Contexts(enter, leave), hook)
    await work(dsn, plugin)
    harmed = hostile.harm in (enter, leave)
    assert (f"{hook} is left out: Harm: harm was done" in caplog.text) == harmed


@pytest.mark.parametrize(
    ("enter", "leave"),
    [(hostile.hang, hostile.nothing), (hostile.nothing, hostile.hang)],
    ids=["entering", "leaving"],
)
async def test_a_context_of_an_attempt_that_hangs(enter, leave, dsn, caplog, monkeypatch):
    monkeypatch.setattr(contexts, "LIMIT", 0.05)
    plugin = hostile.hostile(lambda *_: Contexts(enter, leave), "chancy_job_context")
    await work(dsn, plugin)
    assert "chancy_job_context is left out: it was not " in caplog.text


@pytest.mark.parametrize("hook", ["chancy_call_context", "chancy_job_context"])
@pytest.mark.parametrize("manner", [hostile.harm, lambda *_: Contexts(hostile.harm, hostile.harm)])
async def test_without_a_context_that_is_required_no_attempt_is_made(hook, manner, dsn):
    plugin = hostile.hostile(manner, hook, required=True)
    async with Chancy(dsn, plugins=[plugin]) as chancy:
        await chancy.declare(Queue("q", executor="async"))
        async with Worker(chancy, signals=False):
            reference = await chancy.push(innocent.bind(number=2))
            waits = await chancy.wait_for_job(reference, timeout=10, states=["scheduled"])
    assert (waits.attempts, waits.claims, waits.errors[-1].kind) == (0, 1, "unprepared")
    assert "which is required" in waits.errors[-1].message


async def test_a_service_that_raises_begins_again(dsn, caplog, monkeypatch):
    monkeypatch.setattr("chancy_core.supervise.FIRST", 0.01)
    begun: list[float] = []
    often = anyio.Event()

    async def run() -> None:
        begun.append(anyio.current_time())
        if len(begun) == 4:
            often.set()
        raise Harm("harm was done")

    chancy = Chancy(dsn, plugins=[hostile.service(run)])
    async with chancy, Worker(chancy, signals=False):
        with anyio.fail_after(5):
            await often.wait()
    pauses = [after - before for before, after in itertools.pairwise(begun)]
    assert all(pause >= 0.01 * 2**n for n, pause in enumerate(pauses))
    assert "its service 'harm' is left out: Harm: harm was done" in caplog.text


async def test_a_service_that_does_not_end_is_named(dsn, caplog, monkeypatch):
    monkeypatch.setattr("chancy_core.life.STAYING", 0.1)
    let_go = anyio.Event()
    begun = anyio.Event()

    async def run() -> None:
        with contextlib.suppress(BaseException):
            begun.set()
            await anyio.sleep_forever()
        with anyio.CancelScope(shield=True):
            await let_go.wait()

    async with Chancy(dsn, plugins=[hostile.service(run)]) as chancy:
        worker = Worker(chancy, signals=False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.start)
            with anyio.fail_after(10):
                await begun.wait()
                worker.stop()
                await worker.stopped.wait()
                while "harm of plugin SimpleNamespace" not in caplog.text:
                    await anyio.sleep(0.02)
            assert not [w for w in await chancy.get_all_workers() if w.alive]
            let_go.set()


async def test_hostile_statements_are_rolled_back_alone(dsn, caplog):
    from chancy_core.statement import Statement, nothing

    def statements(settled, names):
        return [
            Statement.written("CREATE TABLE {harm} ()", names, {}, nothing),
            Statement.written("SELECT 1 / 0", names, {}, nothing),
        ]

    def good(settled, names):
        text = "CREATE TABLE IF NOT EXISTS {good} ()"
        return [Statement.written(text, names, {}, nothing)]

    both = [hostile.hostile(made, "chancy_settling") for made in (statements, good)]
    both[1] = type("Good", (), {"chancy_settling": staticmethod(both[1].chancy_settling)})()
    chancy = await work(dsn, *both)
    assert "chancy_settling is left out: DivisionByZero" in caplog.text
    async with chancy, chancy.store.pool.connection() as conn:
        found = await conn.execute("SELECT to_regclass('chancy_harm'), to_regclass('chancy_good')")
        assert await found.fetchone() == (None, "chancy_good")
