"""How plugins are registered, in which order they are asked, and how their answers are combined."""

import logging
import re
import sys
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from chancy import INJECTED, Chancy, Job, QueuedJob, State, Worker
from chancy import job as chancy_job
from chancy_core import beside
from chancy_core.errors import InvalidPlugin, UnknownFunction, Unprepared
from chancy_core.function import JobFunction
from chancy_core.hooks import Hooks, Plugin
from chancy_core.hookspecs import hookimpl
from chancy_core.job import Failure
from chancy_core.outcome import Kind, Outcome, Verdict
from chancy_core.plugins import WorkerPlugins
from chancy_core.queue import Queue
from tests.attempts import running, unplugged
from tests.hostile import SPECS
from tests.site import Site

pytestmark = pytest.mark.anyio


def plugin(**hooks: Any) -> SimpleNamespace:
    return SimpleNamespace(**{name: hookimpl(function) for name, function in hooks.items()})


def register(*made: Any) -> Hooks:
    hooks = Hooks()
    for number, one in enumerate(made):
        hooks.register(Plugin(f"p{number}", "acme 1.0", one))
    return hooks


def working(*plugins: Any) -> WorkerPlugins:
    """Return plugins as a worker of an application that was given them has them."""
    chancy = Chancy("host=nowhere", plugins=[_named(n, p) for n, p in enumerate(plugins)])
    return WorkerPlugins(chancy.plugins, Worker(chancy))


def _named(number: int, made: Any) -> ModuleType:
    module = ModuleType(f"plugin_{number}")
    vars(module).update(vars(made))
    return module


def job() -> QueuedJob:
    return running("add")


# -- who is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_each_hook_has_one_colour(name: str) -> None:
    async def later() -> None: ...
    def now() -> None: ...

    asynchronous = bool(SPECS[name].__code__.co_flags & 0x80)
    right, wrong = (later, now) if asynchronous else (now, later)
    register(plugin(**{name: right}))
    said = f"{name} is written with `{'async ' * asynchronous}def`"
    with pytest.raises(InvalidPlugin, match=re.escape(said)):
        register(plugin(**{name: wrong}))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (plugin(chancy_verdikt=lambda: None), "'chancy_verdikt'.*there are .*chancy_verdict"),
        (plugin(chancy_verdict=lambda job, reason: None), ".*reason"),
        (SimpleNamespace(), "implements no hook"),
        (SimpleNamespace(chancy_verdict=lambda: None), "implements no hook"),
        (SimpleNamespace, "is a class: offer a module, or an object"),
        (
            SimpleNamespace(chancy_call_context=hookimpl(wrapper=True)(lambda: (yield))),
            "is no wrapper.*chancy_call_context",
        ),
    ],
    ids=["misspelt", "argument", "nothing", "unmarked", "class", "wrapper"],
)
def test_a_plugin_that_cannot_be_used_is_refused_and_hides_no_other(made: Any, said: str) -> None:
    hooks = register(plugin(chancy_job_meta=lambda: {"a": 1}))
    with pytest.raises(InvalidPlugin, match=rf"(?s)plugin bad \(acme 2\.0\).*{said}"):
        hooks.register(Plugin("bad", "acme 2.0", made))
    assert [answer for _, answer in hooks.each("chancy_job_meta", job=None)] == [{"a": 1}]
    hooks.register(Plugin("good", "acme 3.0", plugin(chancy_job_meta=lambda: {"b": 1})))
    assert len(list(hooks.each("chancy_job_meta", job=None))) == 2


def test_a_name_is_taken_once() -> None:
    hooks = register(plugin(chancy_job_meta=lambda: None))
    with pytest.raises(InvalidPlugin, match=r"p0 \(acme 2\.0\): its name is taken by .*acme 1\.0"):
        hooks.register(Plugin("p0", "acme 2.0", plugin(chancy_job_meta=lambda: None)))


def test_what_is_given_to_an_application_is_refused_there() -> None:
    with pytest.raises(InvalidPlugin, match="'nowhere:plugin' cannot be imported"):
        Chancy(plugins=["nowhere:plugin"])
    with pytest.raises(InvalidPlugin, match="implements no hook"):
        Chancy(plugins=[object()])


def test_installed_plugins_that_are_broken_are_named_and_hide_no_other(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    group = "chancy.plugins"
    site.install("a-broken", "broken = acme_missing", group=group)
    site.install("b-misspelt", "misspelt = acme_misspelt", group=group)
    site.install("c-good", "good = acme_good", group=group)
    site.install("d-taken", "twice = acme_good", group=group)
    site.install("e-taken", "twice = acme_other", group=group)
    top = "from chancy_core.hookspecs import hookimpl\n@hookimpl\ndef "
    site.module("acme_misspelt", f"{top}chancy_verdikt(): ...")
    site.module("acme_good", f"{top}chancy_job_meta(): return {{'good': 1}}")
    chancy = Chancy("host=nowhere")
    (made,) = chancy.plugins.with_meta([Job("f")])
    assert made.meta["good"] == 1
    assert chancy.plugins.broken.keys() == {"broken", "misspelt", "twice"}
    for said in ("a-broken 1.0", "b-misspelt 1.0", "d-taken 1.0", "e-taken 1.0"):
        assert said in caplog.text


# -- order and blame -------------------------------------------------------------------------------


def test_the_order_is_by_name_and_those_that_are_given_come_first(site: Site) -> None:
    top = "from chancy_core.hookspecs import hookimpl\n"
    for name, mark in (("beta", ""), ("alpha", ""), ("last", "(trylast=True)"), ("zero", "")):
        first = "(tryfirst=True)" if name == "zero" else mark
        site.install(f"acme-{name}", f"{name} = acme_{name}", group="chancy.plugins")
        text = f"{top}@hookimpl{first}\ndef chancy_job_meta(): return {{'{name}': 1}}\n"
        site.module(f"acme_{name}", text)
    given = plugin(chancy_job_meta=lambda: {"given": 1})
    chancy = Chancy("host=nowhere", plugins=[given])
    answers = [answer for _, answer in chancy.plugins.each("chancy_job_meta", job=None)]
    assert [next(iter(answer)) for answer in answers] == ["zero", "given", "alpha", "beta", "last"]


def test_a_fault_is_told_the_first_time_and_whenever_it_was_twice_as_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> None:
        raise ValueError("no")

    hooks = register(plugin(chancy_job_meta=broken))
    for _ in range(100):
        assert not list(hooks.each("chancy_job_meta", job=None))
    told = [record for record in caplog.records if record.name == "chancy.plugins"]
    assert [bool(record.exc_info) for record in told] == [True, *[False] * 6]
    assert "plugin p0 (acme 1.0): chancy_job_meta is left out: ValueError: no" in caplog.text
    assert "(64 times by now)" in caplog.text
    assert hooks.plugins[0].faults == {"chancy_job_meta": 100}


def test_a_stack_tells_whose_it_is() -> None:
    frames: list[Any] = []
    made = plugin(chancy_job_meta=lambda: frames.append(sys._getframe()))
    hooks = Hooks()
    hooks.register(Plugin("acme", "acme 1.0", made, f"{__name__}:made"))
    list(hooks.each("chancy_job_meta", job=None))
    assert hooks.whose(frames[0]) == "plugin acme (acme 1.0)"
    assert hooks.whose(None) == ""


def test_a_stack_within_a_job_is_the_jobs_though_its_module_has_a_plugin_too() -> None:
    frames: list[Any] = []

    @chancy_job(name="test_hooks.stacked")
    def stacked() -> None:
        frames.append(sys._getframe())

    hooks = Hooks()
    made = plugin(chancy_job_meta=lambda: None)
    hooks.register(Plugin("acme", "acme 1.0", made, f"{__name__}:made"))
    stacked()
    assert hooks.whose(frames[0]) == ""
    assert hooks.whose(sys._getframe()) == "plugin acme (acme 1.0)"


# -- how answers are combined ----------------------------------------------------------------------


def test_the_meta_is_the_jobs_own_and_then_that_of_the_plugins() -> None:
    plugins = working(
        plugin(chancy_job_meta=lambda job: {"a": 1, "b": 1, "f": job.func}),
        plugin(chancy_job_meta=lambda: {"b": 2, "c": 2}),
        plugin(chancy_job_meta=lambda: {"bad": object()}),
        plugin(chancy_job_meta=lambda: {7: "no string"}),
    ).beside
    (made,) = plugins.with_meta([Job("g", meta={"a": 0})])
    # Those that were given later are asked first.
    assert made.meta == {"a": 0, "b": 2, "c": 2, "f": "g"}


async def test_the_least_budget_holds() -> None:
    async def much(free: int) -> int:
        return free + 7

    async def few() -> int:
        return 3

    async def none() -> None: ...

    async def odd() -> Any:
        return -1

    hooks = [plugin(chancy_fetch_budget=made) for made in (much, few, none, odd)]
    assert await working(*hooks).budget(Queue("q"), 10) == 3
    assert await working(hooks[0]).budget(Queue("q"), 10) == 10
    assert await working().budget(Queue("q"), 10) == 10


def test_the_first_function_is_resolved_and_only_if_none_is_registered() -> None:
    def ours() -> int:
        return 1

    hooks = working(
        plugin(chancy_resolve_function=lambda name: ours),
        plugin(chancy_resolve_function=lambda name: None),
        plugin(chancy_resolve_function=lambda name: "nonsense"),
    ).beside
    assert hooks.function("legacy.thing").func is ours
    assert hooks.function("tests.jobs.add").name == "tests.jobs.add"
    with pytest.raises(UnknownFunction):
        working().beside.function("legacy.thing")


def test_arguments_are_merged_and_only_what_is_wanted_is_given() -> None:
    def func(a: int, *, b: int = INJECTED, c: int = INJECTED, me: QueuedJob = INJECTED) -> None: ...

    made = JobFunction(func, "f")
    assert (made.injected, made.wanted) == ("me", {"b", "c"})
    one = plugin(chancy_job_kwargs=lambda job, func: {"b": 1, "c": 1, "d": 1})
    other = plugin(chancy_job_kwargs=lambda job: {"b": 2})
    assert working(one, other).beside.arguments(job(), made) == {"b": 2, "c": 1}
    with pytest.raises(Unprepared, match="no plugin here gives it c"):
        working(other).beside.arguments(job(), made)


def test_contexts_are_entered_in_order_and_see_what_the_function_raises() -> None:
    happened: list[str] = []

    def named(name: str) -> Any:
        @contextmanager
        def context() -> Any:
            happened.append(f"+{name}")
            try:
                yield
            except ValueError as exc:
                happened.append(f"{name} saw {exc}")
                raise
            finally:
                happened.append(f"-{name}")

        return plugin(chancy_call_context=lambda job: context())

    def func() -> None:
        raise ValueError("it")

    called = working(named("a"), named("b")).beside.around(job(), JobFunction(func, "f"))
    with pytest.raises(ValueError, match="it"):
        called()
    assert happened == ["+b", "+a", "a saw it", "-a", "b saw it", "-b"]
    assert beside.NOBODY.around(job(), JobFunction(func, "f")) is func


async def test_contexts_of_an_attempt_are_left_in_the_opposite_order() -> None:
    happened: list[str] = []

    def named(name: str) -> Any:
        @asynccontextmanager
        async def context() -> Any:
            happened.append(f"+{name}")
            yield
            happened.append(f"-{name}")

        return plugin(chancy_job_context=lambda worker: context())

    contexts = working(named("a"), named("b")).contexts(job())
    assert contexts is not None
    async with contexts:
        happened.append("run")
    assert happened == ["+b", "+a", "run", "-a", "-b"]
    assert unplugged().contexts(job()) is None


FAILED = Outcome(Kind.ERROR, failure=Failure(attempt=1, kind="error", type="E", message=""))


def test_the_first_verdict_holds_and_none_leaves_it_to_the_next() -> None:
    later = Verdict(State.SCHEDULED, delay=5.0)
    plugins = working(
        plugin(chancy_verdict=lambda job: Verdict(State.FAILED)),
        plugin(chancy_verdict=lambda outcome: later),
        plugin(chancy_verdict=lambda: None),
    )
    assert plugins.verdict(job(), FAILED) == later
    assert working().verdict(job(), FAILED) == Verdict(State.PENDING)


@pytest.mark.parametrize("kind", [Kind.CANCELLED, Kind.SHUTDOWN, Kind.UNREADABLE])
def test_what_somebody_else_has_decided_no_plugin_is_asked_about(kind: Kind) -> None:
    plugins = working(plugin(chancy_verdict=lambda: Verdict(State.SUCCEEDED)))
    assert plugins.verdict(job(), Outcome(kind)).state is not State.SUCCEEDED


@pytest.mark.parametrize(
    "odd",
    [
        "failed",
        Verdict("failed"),  # type: ignore[arg-type]
        Verdict(State.RUNNING),
        Verdict(State.PENDING, delay=1.0),
        Verdict(State.FAILED, delay=1.0),
        Verdict(State.SCHEDULED, delay=-1.0),
        Verdict(State.SCHEDULED, delay=float("nan")),
        Verdict(State.SCHEDULED, delay=1e12),
        Verdict(State.SCHEDULED, delay="1"),  # type: ignore[arg-type]
        Verdict(State.FAILED, counted="yes"),  # type: ignore[arg-type]
        Verdict(State.FAILED, meta=["a"]),  # type: ignore[arg-type]
        Verdict(State.FAILED, meta={"a": object()}),
        Verdict(State.FAILED, meta={"a": float("nan")}),
    ],
    ids=repr,
)
def test_a_verdict_that_makes_no_sense_is_left_out(odd: Any, caplog: Any) -> None:
    caplog.set_level(logging.ERROR)
    assert working(plugin(chancy_verdict=lambda: odd)).verdict(job(), FAILED) == Verdict(
        State.PENDING
    )
    assert "chancy_verdict is left out" in caplog.text


def test_a_job_that_is_run_at_most_once_is_never_sent_back() -> None:
    from attrs import evolve

    once = evolve(job(), at_most_once=True, max_attempts=1)
    plugins = working(plugin(chancy_verdict=lambda: Verdict(State.SCHEDULED, delay=1.0)))
    assert plugins.verdict(once, FAILED) == Verdict(State.FAILED)
    assert plugins.verdict(once, Outcome(Kind.UNKNOWN_FUNCTION)).state is State.SCHEDULED


# -- elsewhere -------------------------------------------------------------------------------------


def test_a_process_loads_the_plugins_that_another_names(caplog: pytest.LogCaptureFixture) -> None:
    chancy = Chancy("host=nowhere", plugins=["tests.hostile:answering", "tests.hostile:hanging"])
    named = [path for path in chancy.plugins.paths if path[0].startswith("tests.")]
    assert named == [
        ("tests.hostile:answering", "given to Chancy", "tests.hostile:answering")
    ]  # the other has no hook beside the function
    hooks = beside.loaded([*named, ("gone", "acme 1.0", "acme_gone")])
    assert [one.name for one in hooks.plugins] == ["tests.hostile:answering"]
    assert "plugin gone (acme 1.0) is left out here" in caplog.text


def test_each_hook_has_a_docstring() -> None:
    assert all(inspected.__doc__ for inspected in SPECS.values())
    assert len(SPECS) == 14


# -- who has nothing to say ------------------------------------------------------------------------


def sleeper(asked: list[str]) -> SimpleNamespace:
    """A plugin that notes when it is asked about a job, and that may sleep."""
    made = plugin(
        chancy_job_context=lambda job: asked.append("attempt"),
        chancy_call_context=lambda job: asked.append("call"),
    )
    made.eyes = [False]
    made.awake = lambda: made.eyes[0]
    return made


async def test_who_sleeps_is_not_asked_about_jobs_until_it_is_looked_at_again():
    asked: list[str] = []
    made = sleeper(asked)
    plugins = working(made)
    hooks = plugins.beside

    async def nothing() -> int:
        return 7

    known = JobFunction(nothing, "n.nothing")
    assert plugins.contexts(job()) is None
    assert await hooks.around(job(), known)() == 7
    made.eyes[0] = True
    assert plugins.contexts(job()) is None
    assert asked == []
    hooks.rouse()
    assert plugins.contexts(job()) is None  # it was asked, and has none
    assert await hooks.around(job(), known)() == 7
    assert asked == ["attempt", "call"]


async def test_who_cannot_say_whether_it_sleeps_is_asked_and_named():
    asked: list[str] = []
    made = sleeper(asked)
    made.awake = lambda: 1 / 0
    plugins = working(made)
    assert plugins.contexts(job()) is None
    assert asked == ["attempt"]
    (one,) = (p for p in plugins.beside.plugins if p.name == "plugin_0")
    assert one.faults["awake"] >= 1


async def test_who_does_not_heed_success_is_asked_about_all_else():
    asked: list[Kind] = []
    made = plugin(chancy_verdict=lambda job, outcome: asked.append(outcome.kind))
    made.heeds_success = False
    plugins = working(made)
    for kind in (Kind.SUCCESS, Kind.ERROR, Kind.TIMEOUT):
        plugins.verdict(job(), Outcome(kind, failure=FAILED.failure))
    assert asked == [Kind.ERROR, Kind.TIMEOUT]


@pytest.mark.parametrize(("answer", "heeds"), [(True, True), (False, False), (None, False)])
def test_outcomes_are_told_to_those_who_heed_them(answer: Any, heeds: bool):
    made = Plugin("p", "acme 1.0", SimpleNamespace(heeds_settled=lambda settled: answer))
    assert made.heeds([]) is heeds
    assert Plugin("p", "acme 1.0", SimpleNamespace()).heeds([])


def test_who_cannot_say_whether_it_heeds_them_is_told_and_named():
    made = Plugin("p", "acme 1.0", SimpleNamespace(heeds_settled=lambda settled: 1 / 0))
    assert made.heeds([])
    assert made.faults["heeds_settled"] == 1


async def test_a_context_that_only_sets_a_variable_is_set_without_being_asked_for():
    variable: ContextVar[Any] = ContextVar("mine", default=None)
    asked: list[Any] = []
    made = plugin(chancy_call_context=lambda job: asked.append(job) or None)
    made.job_variable = variable
    hooks = beside.Beside()
    hooks.register(Plugin("mine", "acme 1.0", made))

    async def seen() -> Any:
        return variable.get()

    known, one = JobFunction(seen, "n.seen"), job()
    assert await hooks.here(one, known)() is one
    hooks.clear()
    assert variable.get() is None
    assert asked == []
    await hooks.around(one, known)()  # as of all other executors
    assert asked == [one]


async def test_where_another_context_does_more_all_are_entered():
    asked: list[str] = []
    quick, slow = (plugin(chancy_call_context=lambda n=n: asked.append(n)) for n in ("q", "s"))
    quick.job_variable = ContextVar("mine", default=None)
    hooks = working(quick, slow).beside

    async def nothing() -> None: ...

    await hooks.here(job(), JobFunction(nothing, "n.nothing"))()
    assert sorted(asked) == ["q", "s"]
