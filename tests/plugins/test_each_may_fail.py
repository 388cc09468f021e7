"""Each plugin that is installed fails in each of its hooks: it stops nothing, and is named.

Something that fails stands in for it, under its name: so what is installed is tested here without
being listed, and what a plugin implements is all that fails.
"""

import sys
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from chancy import INJECTED, Chancy, Job, Queue, State, Worker, job
from chancy_core import discovery, heartbeat
from chancy_core.diagnosis import Finding, diagnose
from chancy_core.hooks import Hooks, Implementation, Plugin
from chancy_core.host import Service
from chancy_core.outcome import Rescued
from chancy_core.plugins import contexts, loading, observing, working
from chancy_core.statement import Statement
from chancy_plugins.cron import service
from tests.hostile import OBSERVERS, Contexts, hang, harm, hostile, nothing, odd
from tests.jobs import add

METRICS = "chancy_plugins.metrics.leading"
RETENTION = "chancy_plugins.retention.service"

pytestmark = pytest.mark.anyio

INSTALLED = sorted(offer.name for offer in discovery.survey() if offer.group == loading.GROUP)
#: Hooks whose answers nobody looks at.
SILENT = {"chancy_configure", "chancy_jobs_pushed", *OBSERVERS}


@job(name="failing.double", queue="q", max_attempts=2)
async def double(n: int) -> int:
    if n == 3:
        raise LookupError("no such thing")
    return 2 * n


@job(name="failing.threaded", queue="t")
def threaded(n: int) -> int:
    return 2 * n


@job(name="failing.wants", queue="q")
async def wants(*, nobody_gives_it: str = INJECTED) -> None:
    pass


class Standing:
    """An installed plugin, and what is put in its place."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = name
        self.origin = discovery.distribution(discovery.find(loading.GROUP, name))
        self.made = discovery.load(loading.GROUP, name)
        hooks = Hooks()
        hooks.register(Plugin(name, self.origin, self.made))
        self.hooks: dict[str, Implementation] = {
            hook: one for hook in _specs() for one in hooks.implemented(hook)
        }
        self._monkeypatch = monkeypatch

    def replace(self, made: Any) -> None:
        """Have something else be found by its name."""
        before = loading._installed

        def installed(name: str) -> Plugin:
            return Plugin(name, self.origin, made) if name == self.name else before(name)

        self._monkeypatch.setattr(loading, "_installed", installed)

    def named(self, findings: list[Finding]) -> set[str]:
        """Return which of its hooks are said to have failed."""
        begins = f"{self.name} ({self.origin}): "
        wrong = [f.says for f in findings if f.what == "plugins" and f.ok is False]
        return {
            says.removeprefix(begins).partition(" has failed ")[0]
            for says in wrong
            if says.startswith(begins)
        }


def _specs() -> list[str]:
    from chancy_core import hookspecs

    return [name for name, spec in vars(hookspecs).items() if hasattr(spec, "chancy_spec")]


@pytest.fixture(params=INSTALLED)
def standing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Standing:
    """Each plugin that is installed; what waits for it does not wait for long."""
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.2)
    monkeypatch.setattr(working, "BUDGET", 0.1)
    monkeypatch.setattr(observing, "LIMIT", 0.05)
    monkeypatch.setattr(contexts, "LIMIT", 0.1)
    return Standing(request.param, monkeypatch)


async def work(dsn: str, standing: Standing, expected: set[str]) -> None:
    """Have jobs done, and then look whether `chancy check` names what has failed."""
    async with Chancy(dsn) as chancy, Chancy(dsn) as looker:
        for queue, executor in (("q", "async"), ("t", "thread")):
            await chancy.declare(Queue(queue, executor=executor, concurrency=4))
        async with Worker(chancy, name="alpha", signals=False) as worker:
            _tell_of_rescued(worker)
            asked = [double.bind(n=n) for n in range(6)] + [threaded.bind(n=n) for n in range(4)]
            if expected & {"chancy_resolve_function"}:
                await chancy.push(Job("failing.unknown", queue="q"))
            if expected & {"chancy_job_kwargs"}:
                await chancy.push(wants.bind())
            ended = await chancy.wait_for_jobs(await chancy.push_many(asked), timeout=30)
            states = [State.SUCCEEDED] * 3 + [State.FAILED] + [State.SUCCEEDED] * 6
            assert [one.state for one in ended] == states
            assert [one.attempts for one in ended] == [1, 1, 1, 2, 1, 1, 1, 1, 1, 1]
            await _until_named(chancy, looker, standing, expected)
            again = await chancy.push(double.bind(n=7))
            assert (await chancy.wait_for_job(again, timeout=10)).result() == 14
            with anyio.fail_after(20):
                worker.stop()
                await worker.wait_for_shutdown()


async def _until_named(
    chancy: Chancy, looker: Chancy, standing: Standing, expected: set[str]
) -> None:
    named: set[str] = set()
    with anyio.move_on_after(20):
        while not expected <= named:
            await chancy.notify("test.hear")
            await anyio.sleep(0.1)
            named = standing.named(await diagnose(looker))
    assert expected <= named, f"not named: {expected - named}"


def _tell_of_rescued(worker: Worker) -> None:
    """Have the worker tell of a rescue, which would take ten seconds."""
    assert worker.lanes is not None
    rescued = [Rescued(job=None, queue="q", state=State.PENDING)]  # type: ignore[arg-type]
    worker.lanes._plugins.observers.tell("chancy_jobs_rescued", rescued=rescued)


async def test_one_that_raises_in_each_of_its_hooks(dsn: str, standing: Standing) -> None:
    standing.replace(hostile(harm, *standing.hooks))
    await work(dsn, standing, set(standing.hooks))


async def test_one_whose_contexts_raise_and_whose_services_do(dsn: str, standing: Standing) -> None:
    """These are made without an error, and fail afterwards."""
    made, expected = _parts(standing, lambda: Contexts(harm, nothing), harmful)
    await _work_if_any(dsn, standing, made, expected)


async def harmful() -> None:
    harm()


async def test_one_whose_contexts_raise_as_they_are_left(dsn: str, standing: Standing) -> None:
    made, expected = _parts(standing, lambda: Contexts(nothing, harm), None)
    await _work_if_any(dsn, standing, made, expected)


async def test_one_that_hangs_wherever_it_is_waited_for(dsn: str, standing: Standing) -> None:
    waited = {"chancy_fetch_budget", *OBSERVERS} & standing.hooks.keys()
    made, expected = _parts(standing, None, anyio.sleep_forever)
    made |= {name: getattr(hostile(hang, name), name) for name in waited}
    if "chancy_job_context" in standing.hooks:
        hook = hostile(lambda *_: Contexts(hang, nothing), "chancy_job_context")
        made["chancy_job_context"] = hook.chancy_job_context
        expected.add("chancy_job_context")
    expected |= waited
    await _work_if_any(dsn, standing, made, expected)


async def test_one_whose_answers_make_no_sense(dsn: str, standing: Standing) -> None:
    standing.replace(hostile(odd, *standing.hooks))
    await work(dsn, standing, set(standing.hooks) - SILENT)


def _parts(
    standing: Standing, context: Callable[[], Any] | None, service: Callable[[], Any] | None
) -> tuple[dict[str, Any], set[str]]:
    """Return hooks that make failing contexts and services, and what is to be named for it."""
    made: dict[str, Any] = {}
    expected: set[str] = set()
    if context is not None:
        for name in {"chancy_call_context", "chancy_job_context"} & standing.hooks.keys():
            made[name] = getattr(hostile(lambda *_: context(), name), name)
            expected.add(name)
    if service is not None and "chancy_worker_services" in standing.hooks:
        original = standing.hooks["chancy_worker_services"]

        def services(worker: Any) -> list[Service]:
            found = list(original.call({"worker": worker}) or ())
            # Only one that promises to be heard of can be found to hang: all of ours do.
            expected.update(s.called for s in found)
            return [
                Service(s.name, service, patience=None if s.patience is None else 0.2)
                for s in found
            ]

        name = "chancy_worker_services"
        made[name] = getattr(hostile(services, name), name)
    return made, expected


async def _work_if_any(
    dsn: str, standing: Standing, made: dict[str, Any], expected: set[str]
) -> None:
    if not made:
        pytest.skip(f"{standing.name} has nothing of that kind")
    standing.replace(SimpleNamespace(**made))
    await work(dsn, standing, expected)


@pytest.fixture
def nonsense(monkeypatch: pytest.MonkeyPatch, standing: Standing) -> list[str]:
    """What the plugin reads from the database is nonsense; tells what it could not read."""
    place = (
        standing.made if isinstance(standing.made, type(sys)) else type(standing.made)
    ).__name__
    package = f"chancy_plugins.{place.removeprefix('chancy_plugins.').partition('.')[0]}"
    failed: list[str] = []
    original = Statement.written.__func__  # type: ignore[attr-defined]

    def written(cls: Any, text: str, names: Any, params: Any, read: Any) -> Any:
        if str(sys._getframe(1).f_globals["__name__"]).startswith(package):
            read = partial(_misread, read, text, failed)
        return original(cls, text, names, params, read)

    monkeypatch.setattr(Statement, "written", classmethod(written))
    return failed


def _misread(read: Any, text: str, failed: list[str], rows: Any) -> Any:
    try:
        return read([("nonsense",)])
    except Exception:
        failed.append(text)
        raise


async def test_one_that_is_given_nonsense_by_the_database(
    dsn: str, standing: Standing, nonsense: list[str]
) -> None:
    async with Chancy(dsn) as chancy, Chancy(dsn) as looker:
        await chancy.declare(Queue("q", executor="async"))
        async with Worker(chancy, signals=False):
            ended = await chancy.wait_for_jobs(
                await chancy.push_many(double.bind(n=n) for n in range(3)), timeout=20
            )
            assert [one.result() for one in ended] == [0, 2, 4]
            if nonsense:
                with anyio.fail_after(20):
                    while not standing.named(await diagnose(looker)):
                        await anyio.sleep(0.1)


async def test_what_fails_in_a_child_process_is_named_too(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.2)
    async with Chancy(dsn, plugins=["tests.hostile:raising"]) as chancy, Chancy(dsn) as looker:
        await chancy.declare(Queue("q", executor="process", concurrency=1))
        async with Worker(chancy, name="alpha", signals=False):
            reference = await chancy.push(add.options(queue="q").bind(a=1, b=2))
            assert (await chancy.wait_for_job(reference, timeout=30)).result() == 3
            says = "tests.hostile:raising (given to Chancy): chancy_call_context has failed 1 times"
            with anyio.fail_after(20):
                while not any(f.says.startswith(says) for f in await diagnose(looker)):
                    await anyio.sleep(0.1)


async def test_a_service_that_lacks_its_tables_is_named_until_it_has_them(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.2)
    monkeypatch.setattr(service, "CALM", 0.2)
    monkeypatch.setattr(service, "LASTING", 0.2)
    async with Chancy(dsn) as chancy, Worker(chancy, name="alpha", signals=False):

        async def told() -> list[str]:
            worker, *_ = await chancy.get_all_workers()
            return [f"{fault.hook}: {fault.said}" for fault in worker.faults]

        async def until(holds: Callable[[list[str]], bool]) -> None:
            with anyio.fail_after(20):
                while not holds(await told()):
                    await anyio.sleep(0.05)

        await until(lambda found: not found)
        async with chancy.store.pool.connection() as conn:
            await conn.execute("ALTER TABLE chancy_crons RENAME TO elsewhere")
            await conn.commit()
        await until(lambda found: any("run `chancy migrate`" in said for said in found))
        async with chancy.store.pool.connection() as conn:
            await conn.execute("ALTER TABLE elsewhere RENAME TO chancy_crons")
            await conn.commit()
        await until(lambda found: not found)


@pytest.mark.parametrize(
    ("hanging", "patience", "leadership"),
    [
        (f"{METRICS}.Task.turn", f"{METRICS}.PATIENCE", "metrics"),
        (f"{RETENTION}.Keeper.turn", f"{RETENTION}.PATIENCE", "retention"),
    ],
)
async def test_a_leader_whose_duty_hangs_is_named(
    dsn: str, hanging: str, patience: str, leadership: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(_: Any) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(heartbeat, "INTERVAL", 0.2)
    monkeypatch.setattr(f"{RETENTION}.FIRST", 0.1)
    monkeypatch.setattr(hanging, hangs)
    monkeypatch.setattr(patience, 0.5)
    says = f"its service 'leadership of {leadership}'"
    async with Chancy(dsn) as chancy, Worker(chancy, name="alpha", signals=False):
        with anyio.fail_after(20):
            while not any(says in found.says for found in await diagnose(chancy)):
                await anyio.sleep(0.05)
        (worker,) = await chancy.get_all_workers()
        (fault,) = [fault for fault in worker.faults if leadership in fault.hook]
        assert "its duty was not heard of for 0.5 s" in fault.said


def test_all_that_are_installed_are_tried() -> None:
    assert {"cron", "debug", "log-context", "opentelemetry", "recovery", "retry", "sentry"} <= set(
        INSTALLED
    )
