"""What children print: people see it as it comes, and a failure is stored with it."""

import os
import signal
from pathlib import Path

import anyio
import pytest

from chancy import Limit
from chancy_core.outcome import Kind, Outcome
from tests import unruly
from tests.attempts import attempt, opened

UNRULY = unruly.__name__
MARK = "\n--- output of the child ---\n"


@pytest.fixture(autouse=True)
def _buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have children buffer what they print, whatever the caller's shell says."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


def printed(outcome: Outcome) -> str:
    """What a failure was stored with."""
    assert outcome.failure is not None, outcome
    return outcome.failure.traceback.partition(MARK)[2]


def lines(text: str) -> str:
    return (
        f"{text} to stdout\n{text} to stderr\n{text} by its number\n{text} by a program\n"
        "and by its stderr\n"
    )


@pytest.mark.parametrize(
    ("how", "kind"), [("raise", Kind.ERROR), ("exit", Kind.CHILD_DIED), ("hold", Kind.TIMEOUT)]
)
async def test_a_failure_has_what_was_printed_meanwhile_in_its_order(
    how: str, kind: Kind, anyio_backend: str, capfd: pytest.CaptureFixture[str]
) -> None:
    limits = [Limit(Limit.Type.TIME, 1)] if how == "hold" else []
    async with opened("process", anyio_backend, UNRULY) as executor:
        before = await attempt("tests.unruly.print_and", text="before").run(executor)
        tried = attempt("tests.unruly.print_and", *limits, text="now", how=how)
        outcome = await tried.run(executor)
    assert (before.kind, before.failure) == (Kind.SUCCESS, None)
    assert outcome.kind is kind
    rest = "" if how == "hold" else "now without an end"
    assert printed(outcome) == lines("now") + rest
    assert outcome.failure is not None
    trace, _, _ = outcome.failure.traceback.partition(MARK)
    assert trace.startswith(("Traceback", "chancy_core.errors."))
    heard = capfd.readouterr()
    assert heard.out == ""
    assert heard.err == lines("before") + "before without an end" + lines("now") + rest


async def test_people_see_it_while_the_job_runs(
    anyio_backend: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with opened("process", anyio_backend, UNRULY) as executor:
        tried = attempt("tests.unruly.print_and", text="now", how="hold")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tried.run, executor)
            heard = ""
            with anyio.fail_after(20):
                while "by its stderr" not in heard:
                    await anyio.sleep(0.01)  # a stream of the operating system has no event
                    heard += capfd.readouterr().err
            tried.scope.cancel()
    assert heard == lines("now")


async def test_only_the_end_of_much_is_kept(anyio_backend: str) -> None:
    async with opened("process", anyio_backend, UNRULY, max_output=50) as executor:
        outcome = await attempt("tests.unruly.print_much", size=300_000).run(executor)
    assert printed(outcome) == f"[only the last 50 bytes]\n{'a' * 43}THE END"


async def test_nothing_is_kept_if_nobody_wants_it(
    anyio_backend: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with opened("process", anyio_backend, UNRULY, max_output=0) as executor:
        outcome = await attempt("tests.unruly.print_and", text="now", how="raise").run(executor)
    assert printed(outcome) == ""
    assert outcome.failure is not None
    assert "output of the child" not in outcome.failure.traceback
    assert capfd.readouterr().err == lines("now") + "now without an end"


async def test_a_crash_says_where_it_was(anyio_backend: str) -> None:
    async with opened("process", anyio_backend, UNRULY) as executor:
        outcome = await attempt("tests.unruly.crash").run(executor)
    assert outcome.kind is Kind.CHILD_DIED
    assert "Segmentation fault" in printed(outcome)
    assert "in crash" in printed(outcome)


async def test_a_job_may_close_what_it_has(anyio_backend: str) -> None:
    async with opened("process", anyio_backend, UNRULY) as executor:
        outcome = await attempt("tests.unruly.close_outputs").run(executor)
        assert (outcome.kind, outcome.result) == (Kind.SUCCESS, '"closed"')
        after = await attempt("tests.unruly.echo", value=1).run(executor)
        assert (after.kind, after.result) == (Kind.SUCCESS, "1")


@pytest.mark.parametrize("how", ["return", "exit"])
async def test_a_program_that_a_job_leaves_behind_holds_up_nobody(
    anyio_backend: str, how: str
) -> None:
    """It has the end of the pipe through which its job has printed, and keeps it."""
    pid = None
    try:
        with anyio.fail_after(20):
            async with opened("process", anyio_backend, UNRULY) as executor:
                tried = attempt("tests.unruly.start_a_program", seconds=60, how=how)
                outcome = await tried.run(executor)
                if how == "return":
                    pid = int(outcome.result or "0")
                else:
                    assert outcome.kind is Kind.CHILD_DIED
                after = await attempt("tests.unruly.echo", value=1).run(executor)
                assert after.result == "1"
            assert executor._relay.outputs == {}  # type: ignore[attr-defined]
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)


async def test_a_copy_that_a_job_leaves_behind_holds_up_nobody(
    anyio_backend: str, tmp_path: Path
) -> None:
    """It has all that its job had, the pipe to the worker too."""
    told = tmp_path / "told"
    try:
        with anyio.fail_after(20):
            async with opened("process", anyio_backend, UNRULY) as executor:
                tried = attempt("tests.unruly.fork", seconds=60, told=str(told))
                outcome = await tried.run(executor)
                assert outcome.kind is Kind.CHILD_DIED
                both = await attempt("tests.unruly.fork_and_return").run(executor)
                assert both.result == '"the parent"'
                after = await attempt("tests.unruly.echo", value=1).run(executor)
                assert after.result == "1"
    finally:
        os.kill(int(told.read_text()), signal.SIGKILL)
