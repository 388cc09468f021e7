"""How the children of the executor `process` are set up, and when they make way."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from chancy import Queue
from chancy_core import codec
from chancy_core.errors import InvalidValue
from chancy_core.installed import find_executor
from chancy_core.outcome import Kind, Outcome
from chancy_executors.process import ProcessOptions
from tests import unruly
from tests.attempts import attempt, is_gone, opened

UNRULY = unruly.__name__


def value(outcome: Outcome) -> Any:
    assert outcome.kind is Kind.SUCCESS, outcome
    return codec.decode(outcome.result or "null")


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_memory_per_child": 0}, "max_memory_per_child must be 1 or more, or None, not 0"),
        ({"max_output": -1}, "max_output must be 0 to 1,000,000 bytes, not -1"),
        ({"max_output": 1_000_001}, "max_output must be 0 to 1,000,000 bytes, not 1000001"),
        ({"initializer": "acme.setup"}, "must name a function as 'module:function'"),
        ({"initializer": "acme:a.b"}, "must name a function as 'module:function'"),
        ({"initializer": "acme:_hidden;x"}, "must name a function as 'module:function'"),
        ({"environment": {"": "x"}}, "environment: '' cannot be a variable's name"),
        ({"environment": {"A=B": "x"}}, "environment: 'A=B' cannot be a variable's name"),
        ({"environment": {"A": 7}}, "must be of type str, not int"),
        ({"environment": {"LD_PRELOAD": "x"}}, "LD_PRELOAD says which code a child loads"),
        ({"environment": {"PYTHONPATH": "x"}}, "PYTHONPATH says which code a child loads"),
        ({"scrub": "AWS_SECRET"}, "it must be a list, not str"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        find_executor(Queue("q", executor="process", executor_options=options))
    assert problem in str(refused.value)
    assert "queue 'q': executor_options" in str(refused.value)


def test_right_options_are_taken_as_they_come_out_of_a_row() -> None:
    options = {
        "max_jobs_per_child": None,
        "max_memory_per_child": 200_000_000,
        "initializer": "acme.setup:prepare",
        "environment": {"CHANCY_DSN": None, "PYTHONPATH": None, "MODE": "fast"},
        "scrub": ["AWS_*", "TOKEN"],
        "max_output": 0,
    }
    _, made = find_executor(Queue("q", executor="process", executor_options=options))
    assert isinstance(made, ProcessOptions)
    assert made.environment == options["environment"]
    assert list(made.scrub) == options["scrub"]


# -- making way ------------------------------------------------------------------------------------

MEGABYTE = 1_000_000


async def test_a_child_that_has_too_much_memory_makes_way(anyio_backend: str) -> None:
    most = 150 * MEGABYTE
    async with opened("process", anyio_backend, UNRULY, max_memory_per_child=most) as executor:
        pids = [
            value(await attempt("tests.unruly.leak", size=size * MEGABYTE).run(executor))
            for size in (0, 1, 200, 0, 0)
        ]
        first, last = pids[0], pids[-1]
        assert pids == [first, first, first, last, last]
        assert first != last
        assert is_gone(first)


async def test_without_such_a_bound_it_stays_whatever_it_has(anyio_backend: str) -> None:
    async with opened("process", anyio_backend, UNRULY) as executor:
        pids = {
            value(await attempt("tests.unruly.leak", size=size * MEGABYTE).run(executor))
            for size in (0, 200, 0)
        }
    assert len(pids) == 1


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="nobody can ask how a child is")
async def test_a_child_that_has_just_died_costs_no_job(anyio_backend: str) -> None:
    """Its death may be known to the kernel alone when the next job is to be given to it."""
    async with opened("process", anyio_backend, UNRULY) as executor:
        for _ in range(3):
            first = value(await attempt("tests.unruly.who").run(executor))
            os.kill(first, signal.SIGKILL)
            with suppress(ChildProcessError):  # a thread of the loop may have been told
                os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
            # And the loop has had no turn.
            assert value(await attempt("tests.unruly.who").run(executor)) != first


# -- what they are set up with ---------------------------------------------------------------------

SECRETS = {
    "CHANCY_DSN": "host=nowhere password=canary",
    "PGPASSWORD": "canary",
    "PGHOST": "nowhere",
    "AWS_SECRET_ACCESS_KEY": "canary",
    "ACME_TOKEN": "canary",
    "HARMLESS": "stays",
}


async def seen(backend: str, **options: Any) -> dict[str, str | None]:
    names = [*SECRETS, "GIVEN", "CHANCY_WITHHELD"]
    async with opened("process", backend, UNRULY, **options) as executor:
        return value(await attempt("tests.unruly.variables", names=names).run(executor))


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.delenv("CHANCY_WITHHELD", raising=False)


@pytest.mark.usefixtures("secrets")
async def test_the_way_into_the_database_is_withheld(anyio_backend: str) -> None:
    kept = {"AWS_SECRET_ACCESS_KEY": "canary", "ACME_TOKEN": "canary", "HARMLESS": "stays"}
    expected = dict.fromkeys([*SECRETS, "GIVEN"]) | kept | {"CHANCY_WITHHELD": "CHANCY_DSN"}
    assert await seen(anyio_backend) == expected


@pytest.mark.usefixtures("secrets")
async def test_what_is_withheld_and_what_is_given_can_be_said(anyio_backend: str) -> None:
    told = await seen(
        anyio_backend,
        scrub=["AWS_*", "ACME_TOKEN"],
        environment={"CHANCY_DSN": None, "PGHOST": "here", "GIVEN": "x", "NOT_THERE": None},
    )
    assert told == {
        "CHANCY_DSN": SECRETS["CHANCY_DSN"],
        "PGPASSWORD": None,
        "PGHOST": "here",
        "AWS_SECRET_ACCESS_KEY": None,
        "ACME_TOKEN": None,
        "HARMLESS": "stays",
        "GIVEN": "x",
        "CHANCY_WITHHELD": None,
    }


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("name", ["CHANCY_DSN", "DATABASE_URL"])
async def test_an_application_finds_no_other_database_instead(
    anyio_backend: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither that of `DATABASE_URL` nor an embedded one, which nobody has meant."""
    monkeypatch.delenv("CHANCY_DSN")
    monkeypatch.setenv(name, "host=nowhere")
    async with opened("process", anyio_backend, UNRULY, scrub=["DATABASE_URL"]) as executor:
        outcome = await attempt("tests.unruly.open_chancy").run(executor)
    assert outcome.kind is Kind.ERROR
    assert outcome.failure is not None
    assert outcome.failure.type == "ChancyError"
    assert f"{name} is not given to the children" in outcome.failure.message
    assert f"{{'environment': {{'{name}': None}}}}" in outcome.failure.message


async def test_an_initializer_is_called_once_in_each_child(anyio_backend: str) -> None:
    options = {"initializer": "tests.unruly:prepare", "max_jobs_per_child": 2}
    async with opened("process", anyio_backend, UNRULY, **options) as executor:
        for _ in range(4):
            assert value(await attempt("tests.unruly.preparations").run(executor)) == 1


async def test_an_initializer_that_fails_is_told_as_what_cannot_be_loaded(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    initializer = "tests.unruly:fail_to_prepare"
    async with opened("process", anyio_backend, UNRULY, initializer=initializer) as executor:
        outcome = await attempt("tests.unruly.who").run(executor)
    assert outcome.kind is Kind.UNKNOWN_FUNCTION
    assert outcome.failure is not None
    assert (
        outcome.failure.message == "a child process could not load the jobs: RuntimeError: no way"
    )
    assert outcome.failure.traceback.endswith(
        "--- output of the child ---\nsaid before it failed\n"
    )
    assert "RuntimeError: no way" in caplog.text


@pytest.mark.parametrize(
    ("initializer", "problem"),
    [
        ("os:abort", "loads no jobs from 'os'"),
        ("tests.jobs:add", "loads no jobs from 'tests.jobs'"),
        ("tests.unruly:nothing", "is no plain function of that module"),
        ("tests.unruly:job", "is no plain function of that module"),
        ("tests.unruly:Chancy", "is no plain function of that module"),
        ("tests.unruly:prepare_async", "is no plain function of that module"),
    ],
)
async def test_an_initializer_is_a_function_of_the_workers_own_code(
    anyio_backend: str, initializer: str, problem: str
) -> None:
    """A queue's row names it: that must not run whatever is installed."""
    async with opened("process", anyio_backend, UNRULY, initializer=initializer) as executor:
        outcome = await attempt("tests.unruly.who").run(executor)
    assert outcome.kind is Kind.UNKNOWN_FUNCTION
    assert outcome.failure is not None
    assert problem in outcome.failure.message


async def test_django_can_be_the_initializer(
    anyio_backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "django.py").write_text("ready = []\ndef setup(): ready.append(1)")
    (tmp_path / "acme_ready.py").write_text(
        "import django\nassert django.ready == [1]\nimport tests.unruly"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    for initializer, kind in (("django:setup", Kind.SUCCESS), (None, Kind.UNKNOWN_FUNCTION)):
        options = {"initializer": initializer}
        async with opened("process", anyio_backend, "acme_ready", **options) as executor:
            outcome = await attempt("tests.unruly.who").run(executor)
        assert outcome.kind is kind, outcome


async def test_children_start_side_by_side(anyio_backend: str, tmp_path: Path) -> None:
    options = {"initializer": "tests.unruly:meet", "environment": {"MEET": str(tmp_path)}}
    async with opened("process", anyio_backend, UNRULY, **options) as executor:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(attempt("tests.unruly.who").run, executor)
                while len(list(tmp_path.glob("*.here"))) < 3:  # none has been let go on
                    await anyio.sleep(0.01)
                (tmp_path / "go").touch()
