"""Bad input: a clear error to whoever gives it, while every other queue and job goes on."""

import sys
import time
import tracemalloc
from typing import Any

import anyio
import psycopg
import pytest

from chancy import INJECTED, Chancy, Job, Limit, Queue, QueuedJob, State, Worker, job
from chancy_core import codec
from chancy_core.errors import (
    InvalidJob,
    InvalidQueue,
    InvalidValue,
    JobFailed,
    UnknownName,
)
from chancy_core.filter import JobFilter
from chancy_core.tags import matches
from tests.stage import play, push
from tests.unharmed import innocent_job, unharmed

pytestmark = pytest.mark.anyio

SURROGATE, NUL = "a\ud800", "a\0b"
NOT_A_NUMBER, ENDLESS = float("nan"), float("inf")


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


#: Values that have no place in jsonb, and what the error says of each.
UNSTORABLE = {
    "NUL": ("a\0b", "NUL"),
    "surrogate": ("a\ud800", "surrogate"),
    "NaN": (NOT_A_NUMBER, "nan is no JSON number"),
    "infinity": (-ENDLESS, "-inf is no JSON number"),
    "10^5000": (10**5000, "4,300 digits"),
    "deep": (deep(10_000), "deeper than 100 levels"),
}


@job(name="hostile.give", queue="q")
async def give(what: str) -> Any:
    return UNSTORABLE[what][0]


@job(name="hostile.raise_it", queue="q")
async def raise_it(what: str) -> None:
    raise RuntimeError(UNSTORABLE[what][0])


@job(name="hostile.note", queue="q")
async def note(what: str, *, me: QueuedJob = INJECTED) -> None:
    me.meta["note"] = UNSTORABLE[what][0]


@job(name="hostile.echo", queue="q")
async def echo(value: Any) -> Any:
    return value


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@job(name="hostile.unspeakable", queue="q")
async def unspeakable() -> None:
    raise Unspeakable


def write(dsn: str, text: str, *params: Any) -> None:
    """What somebody writes by hand; a worker is told of queues that were changed."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(text.encode(), params)
        conn.execute("SELECT pg_notify('public.chancy_', 'queue.declared:odd')")


async def until_told(caplog: pytest.LogCaptureFixture, text: str) -> str:
    """Wait until something was logged; return the line."""
    with anyio.fail_after(10):
        while True:
            for record in caplog.records:
                if text in record.getMessage():
                    return record.getMessage()
            await anyio.sleep(0.01)


# -- tags ------------------------------------------------------------------------------------------

BAD_PATTERNS = {
    "invalid": "has=(gpu",
    "repeated beyond bounds": "a{1000}{1000}",
    "back reference": r"(a)\1",
    "too long": "a" * 201,
    "empty": "",
    "NUL": NUL,
    "surrogate": SURROGATE,
}


@pytest.mark.parametrize("pattern", BAD_PATTERNS.values(), ids=BAD_PATTERNS.keys())
def test_a_bad_tag_pattern_is_refused_where_it_is_declared(pattern: str):
    with pytest.raises(InvalidQueue, match="queue 'odd'") as refused:
        Queue("odd", tags={"fine", pattern})
    assert codec.shown(pattern) in str(refused.value)


async def test_a_bad_tag_pattern_in_a_row_costs_its_own_queue(chancy, dsn, stage, caplog):
    await chancy.declare(Queue("odd", executor="async"))
    async with unharmed(chancy, dsn):
        write(dsn, "UPDATE chancy_queues SET tags = '{has=(gpu}'")  # of all queues
        await until_told(caplog, "queue 'odd' is not run here: queue 'odd': the tag pattern 'has=(")
        write(dsn, "UPDATE chancy_queues SET tags = '{.*}' WHERE name = 'q'")
        await innocent_job(chancy, dsn)
        for _ in range(3):
            write(dsn, "UPDATE chancy_queues SET updated_at = now()")
            await innocent_job(chancy, dsn)
        assert caplog.text.count("queue 'odd' is not run here") == 1
        write(dsn, "UPDATE chancy_queues SET tags = '{.*}' WHERE name = 'odd'")
        (reference,) = await push(chancy, dsn, 1, queue="odd")
        await chancy.wait_for_job(reference, timeout=10)


async def test_a_catastrophic_tag_pattern_takes_linear_time(chancy, dsn, stage):
    long = "a" * 50_000 + "!"
    await chancy.declare(Queue("odd", tags={"(a+)+$", "(a|aa)+$", "(.*)*b"}, executor="async"))
    await push(chancy, dsn, 1, queue="odd")
    since = time.perf_counter()
    assert not matches({"(a+)+$", "(a|aa)+$", "(.*)*b"}, {long})
    assert time.perf_counter() - since < 2
    async with unharmed(chancy, dsn, tags={long}):
        pass
    assert [(await chancy.get_queue("odd")).name] == ["odd"]


# -- executors and their options -------------------------------------------------------------------


async def test_an_unknown_executor_is_refused_or_skipped_until_mended(chancy, dsn, stage, caplog):
    there = "async, dask, interpreter, process, subprocess, thread"
    with pytest.raises(UnknownName, match=rf"'warp'.*{there}"):
        await chancy.declare(Queue("odd", executor="warp"))
    async with unharmed(chancy, dsn):
        await chancy.declare(Queue("odd", executor="warp"), check=False)
        (reference,) = await push(chancy, dsn, 1, queue="odd")
        told = await until_told(caplog, "queue 'odd' is not run here")
        assert "'warp'" in told
        assert there in told
        await innocent_job(chancy, dsn)
        assert (await chancy.get_job(reference)).state is State.PENDING
        await chancy.declare(Queue("odd", executor="async"), upsert=True)
        assert (await chancy.wait_for_job(reference, timeout=10)).state is State.SUCCEEDED
    assert caplog.text.count("queue 'odd' is not run here") == 1


async def test_wrong_options_are_refused_or_skipped(chancy, dsn, stage, caplog):
    wrong = {"async": {"speed": 9}, "thread": {"speed": {"a": [1]}}, "process": {"speed": None}}
    async with unharmed(chancy, dsn):
        for executor, options in wrong.items():
            odd = Queue(f"odd-{executor}", executor=executor, executor_options=options)
            with pytest.raises(InvalidValue, match=r"speed.*queue 'odd-.*': executor_options"):
                await chancy.declare(odd)
            await chancy.declare(odd, check=False)
            assert "speed" in await until_told(caplog, f"queue {odd.name!r} is not run here")


@pytest.mark.parametrize(
    "options",
    [7, "speed", [1], {1: 2}, *({"a": value} for value, _ in UNSTORABLE.values())],
    ids=[*("number", "text", "list", "number as key"), *UNSTORABLE],
)
def test_options_that_are_none_are_refused(options: Any):
    with pytest.raises(InvalidQueue, match=r"queue 'odd': executor_options"):
        Queue("odd", executor_options=options)


# -- numbers ---------------------------------------------------------------------------------------

NO_NUMBERS: list[Any] = [True, "4", NOT_A_NUMBER, ENDLESS, -1, 0, 10**400, 10**5000, [], 1 + 1j]


@pytest.mark.parametrize(
    "settings",
    [
        *({"concurrency": value} for value in [*NO_NUMBERS, 1.5, 10_001]),
        *({"polling_interval": value} for value in [*NO_NUMBERS, 3601, 1e-9]),
        *({"rate_limit": value, "rate_limit_window": 1} for value in [*NO_NUMBERS, 1.5]),
        *({"rate_limit": 1, "rate_limit_window": value} for value in NO_NUMBERS),
        {"rate_limit": 1},
        {"rate_limit_window": 1},
    ],
    ids=lambda s: f"{'-'.join(s)}-{codec.shown(list(s.values())):.30}",
)
def test_a_queue_with_impossible_numbers_is_refused(settings: dict[str, Any]):
    with pytest.raises(
        InvalidQueue, match=r"queue 'odd': (concurrency|polling_interval|rate_limit)"
    ):
        Queue("odd", **settings)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda v: f"{codec.shown(v):.20}")
@pytest.mark.parametrize("kind", Limit.Type)
def test_an_impossible_limit_is_refused(kind: Limit.Type, value: Any):
    with pytest.raises(InvalidJob, match=f"a {kind} limit must be a number above 0"):
        Limit(kind, value)


async def test_impossible_numbers_by_hand_are_refused_or_skipped(chancy, dsn, stage, caplog):
    async with unharmed(chancy, dsn):
        for text in (
            *(f"concurrency = {value}" for value in (0, -1, 10_001)),
            *(f"polling_interval = {value}" for value in (0, -1)),
            *(f"rate_limit_window = {value}" for value in (0, "'NaN'", "'inf'")),
            "rate_limit = 0",
        ):
            with pytest.raises(psycopg.errors.CheckViolation):
                write(dsn, f"UPDATE chancy_queues SET {text} WHERE name = 'q'")
        # That one without the other makes no sense, only whoever reads it can say.
        await chancy.declare(Queue("odd", executor="async"))
        write(dsn, "UPDATE chancy_queues SET rate_limit = 5 WHERE name = 'odd'")
        assert "rate_limit_window go together" in await until_told(caplog, "queue 'odd' is not run")


# -- text, numbers and depth that cannot be stored -------------------------------------------------


async def test_what_cannot_be_stored_is_refused_where_it_is_pushed(chancy, dsn, stage):
    async with unharmed(chancy, dsn):
        for value, problem in UNSTORABLE.values():
            for asked in (
                echo.bind(value=value),
                echo.bind(value={"a": [value]}),
                echo.bind(value=1).options(meta={"a": value}),
            ):
                with pytest.raises(InvalidValue, match=r"(arguments|meta) of hostile.echo") as told:
                    await chancy.push(asked)
                assert problem in str(told.value)
                assert len(str(told.value)) < 1000
        assert (await chancy.list_jobs(JobFilter(func="hostile.echo"))).jobs == []


async def test_what_is_only_large_comes_back_equal(chancy, dsn, stage):
    async with unharmed(chancy, dsn):
        for value in (10**400, -(10**4299), 1.7976931348623157e308, deep(90), "x" * 900_000):
            done = await chancy.wait_for_job(await chancy.push(echo.bind(value=value)), timeout=10)
            assert done.result() == value


async def test_text_that_is_none_is_refused_wherever_it_is_given(chancy, dsn, stage):
    async with unharmed(chancy, dsn):
        await check_that_it_is_refused(chancy, dsn, NUL)
        await check_that_it_is_refused(chancy, dsn, SURROGATE)


async def check_that_it_is_refused(chancy: Chancy, dsn: str, text: str) -> None:
    for make in (
        lambda: Job(text),
        lambda: Job("f", queue=text),
        lambda: Job("f", unique_key=text),
        lambda: play.options(queue=text),
        lambda: Queue(text),
        lambda: Queue("odd", executor=text),
        lambda: JobFilter(queue=text),
        lambda: JobFilter(func=["f", text]),
        lambda: JobFilter(unique_key=text),
        lambda: JobFilter(meta={"a": text}),
        lambda: Worker(chancy, name=text),
        lambda: Worker(chancy, tags={"fine", text}),
        lambda: Chancy(dsn, prefix=text),
        lambda: Chancy(dsn, schema=text),
    ):
        with pytest.raises(InvalidValue, match=r"NUL|surrogate|printable|letters|installed"):
            make()
    for ask in (
        lambda: chancy.push(echo.bind(value={text: 1})),
        lambda: chancy.push(Job("f", kwargs={text: 1})),
        lambda: chancy.get_queue(text),
        lambda: chancy.pause_queue(text),
        lambda: chancy.resume_queue(text),
        lambda: chancy.delete_queue(text),
        lambda: chancy.get_job(text),
        lambda: chancy.cancel_job(text),
        lambda: chancy.notify("acme.refresh", text),
        lambda: chancy.notify(f"acme.{text}"),
    ):
        with pytest.raises(InvalidValue, match=r"NUL|surrogate|referred to"):
            await ask()


@pytest.mark.parametrize("wrong", ["gpu", 7, [7], [["a"]], None], ids=repr)
def test_a_worker_with_tags_that_are_none_is_refused(dsn: str, wrong: Any):
    with pytest.raises(InvalidValue, match=r"worker 'w'.*tag"):
        Worker(Chancy(dsn), name="w", tags=wrong)
    with pytest.raises(InvalidQueue, match="tag"):
        Queue("odd", tags=wrong)


@pytest.mark.parametrize("wrong", ["mail", 7, [7], [], ["a\x00"]], ids=repr)
def test_queues_that_a_worker_cannot_run_are_refused(dsn: str, wrong: Any):
    with pytest.raises(InvalidValue, match="queue"):
        Worker(Chancy(dsn), name="w", queues=wrong)


@pytest.mark.parametrize("wrong", [NOT_A_NUMBER, -1, "5", True, None], ids=repr)
def test_a_grace_period_that_is_none_is_refused(dsn: str, wrong: Any):
    with pytest.raises(InvalidValue, match="worker 'w': grace_period must be 0 or more"):
        Worker(Chancy(dsn), name="w", grace_period=wrong)


async def test_what_a_job_gives_is_stored_as_well_as_it_can_be(chancy, dsn, stage, caplog):
    """Its result as its `repr`, its error's text cut and cleaned, its meta not at all."""
    async with unharmed(chancy, dsn):
        for what in UNSTORABLE:
            await check_what_is_given(chancy, what)
            assert "its meta stays as it was: meta of hostile.note.note" in caplog.text
            caplog.clear()
        done = await chancy.wait_for_job(await chancy.push(unspeakable.bind()), timeout=10)
        assert done.errors[0].message == "<an exception without a readable text>"
        assert done.errors[0].type.endswith("Unspeakable")


async def check_what_is_given(chancy: Chancy, what: str) -> None:
    asked = [echo_.bind(what=what) for echo_ in (give, raise_it, note)]
    references = await chancy.push_many(asked)
    given, raised, noted = await chancy.wait_for_jobs(references, timeout=30)
    assert len(given.result()["repr"]) < 17_000
    assert (raised.state, raised.errors[0].type) == (State.FAILED, "RuntimeError")
    assert 0 < len(raised.errors[0].message) < 17_000
    assert 0 < len(raised.errors[0].traceback) < 17_000
    assert (noted.state, noted.meta) == (State.SUCCEEDED, {})
    with pytest.raises(JobFailed, match="RuntimeError"):
        raised.result()


# -- fifty megabytes -------------------------------------------------------------------------------

TOO_MUCH = r"50,000,008 bytes of JSON, where at most 1,000,000 are stored; keep large data elsewh"


async def test_fifty_megabytes_are_refused_where_they_are_pushed(chancy, dsn, stage):
    """Written out once to be measured, and not sent."""
    async with unharmed(chancy, dsn):
        asked = echo.bind(value="x" * (50_000_000 - 4))
        tracemalloc.start()
        try:
            since = time.perf_counter()
            with pytest.raises(InvalidValue, match=f"arguments of hostile.echo: {TOO_MUCH}"):
                await chancy.push(asked)
            assert time.perf_counter() - since < 5
            assert tracemalloc.get_traced_memory()[1] < 5 * 50_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.slow
async def test_fifty_megabytes_that_a_job_gives_are_cut(chancy, dsn, stage, monkeypatch):
    monkeypatch.setitem(UNSTORABLE, "50 MB", ("x" * 50_000_000, ""))
    async with unharmed(chancy, dsn):
        await check_what_is_given(chancy, "50 MB")


# -- names of the installation ---------------------------------------------------------------------

HOSTILE_NAMES = [
    '"', "'", "a;b", "a; DROP TABLE x", "a b", "%s", "a%", "A", "Ü", "ß", "a" * 31, "", "1a", "a.b",
    "a-b", "a\n", NUL, SURROGATE, "\u202e", "a$b", "{jobs}", "{{", None, 7,
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
@pytest.mark.parametrize("setting", ["prefix", "schema"])
def test_a_hostile_prefix_or_schema_is_refused(setting: str, name: Any):
    with pytest.raises(InvalidValue, match=f"{setting} must be 1 to 30 lower-case letters"):
        Chancy("postgresql://localhost/x", **{setting: name})


@pytest.mark.parametrize(
    ("schema", "prefix"), [("select", "table_"), ("s" * 30, "p" * 30)], ids=["words", "long"]
)
async def test_the_oddest_prefix_that_is_taken_does_for_everything(
    empty_dsn: str, schema: str, prefix: str
):
    """Migrations up and down, a job, what is told of it, and nothing of it elsewhere."""
    async with Chancy(empty_dsn, schema=schema, prefix=prefix) as chancy:
        await chancy.migrate()
        await chancy.declare(Queue("q", executor="async", rate_limit=1000, rate_limit_window=1))
        async with Worker(chancy, name="w"):
            (reference,) = await chancy.push_many([echo.bind(value=1)])
            assert (await chancy.wait_for_job(reference, timeout=10)).result() == 1
            await chancy.pause_queue("q")
            waiting = await chancy.push(echo.bind(value=2))
            assert (await chancy.cancel_job(waiting)).done
            assert [w.name for w in await chancy.get_all_workers()] == ["w"]
        assert len((await chancy.list_jobs()).jobs) == 2
        await chancy.migrate(to=dict.fromkeys(chancy.migrator().lines, 0))
    with psycopg.connect(empty_dsn) as conn:
        text = "SELECT count(*) FROM pg_class WHERE relname LIKE 'chancy%'"
        assert conn.execute(text).fetchone() == (0,)


# -- functions -------------------------------------------------------------------------------------


def plain() -> None: ...


class Callable:
    def method(self) -> None: ...

    def __call__(self) -> None: ...


async def test_an_unregistered_function_is_refused_as_an_object(chancy, dsn, stage):
    made = Callable()
    async with unharmed(chancy, dsn):
        for func in (plain, lambda: None, print, dict, Callable, made.method, made, "plain", None):
            with pytest.raises(InvalidJob, match="push takes a Job"):
                await chancy.push(func)
            with pytest.raises(InvalidJob, match="is no job: decorate it with @job"):
                Job.from_func(func)
        with pytest.raises(InvalidJob, match="push takes a Job"):
            await chancy.push_many([play.bind(stage=dsn, number=1), plain])


UNREGISTERED = (
    "os.system",
    "builtins.eval",
    "__main__.x",
    "tests.jobs.add.__globals__",
    f"{__name__}.plain",
    "antigravity.fly",
    "a" * 1000,
)


async def test_an_unregistered_name_is_given_back_and_never_resolved(chancy, dsn, stage):
    """Uncounted and delayed, whatever executor would have run it."""
    asked = []
    for executor in ("async", "thread", "process"):
        await chancy.declare(Queue(executor, executor=executor, concurrency=4))
        asked += [Job(name, queue=executor, kwargs={"command": "x"}) for name in UNREGISTERED]
    async with unharmed(chancy, dsn):
        for reference in await chancy.push_many(asked):
            with anyio.fail_after(20):
                while not (found := await chancy.get_job(reference)).errors:
                    await anyio.sleep(0.01)
            assert (found.state, found.attempts) == (State.SCHEDULED, 0)
            assert found.errors[0].kind == "unknown-function"
            assert repr(found.func) in found.errors[0].message
    assert "antigravity" not in sys.modules
