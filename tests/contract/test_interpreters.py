"""Jobs in sub-interpreters: what they share, what refuses to be there, and what nobody ends."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from chancy import Limit, Queue
from chancy_core import codec, installed, registry
from chancy_core.errors import BrokenOffer, ChildDied, InvalidQueue, InvalidValue
from chancy_core.executor import JOB_THREAD, Executor, ExecutorHost
from chancy_core.outcome import Kind, Outcome
from chancy_core.progress import Progress
from chancy_core.run import Attempt
from chancy_core.testing import check_executor
from chancy_executors import inside, interpreter, subinterpreter
from chancy_executors.interpreter import InterpreterExecutor, InterpreterOptions
from chancy_executors.interpreters import Interpreter
from tests import secluded
from tests.attempts import attempt, opened
from tests.contract.test_cancel_races import Race, check

pytestmark = pytest.mark.anyio

needed = pytest.mark.skipif(
    not subinterpreter.AVAILABLE, reason="sub-interpreters need Python 3.13"
)
SECLUDED = secluded.__name__
ROOT = Path(__file__).parents[2]
#: A module in C that was not written for sub-interpreters, and one that imports it.
REFUSES, IMPORTS = "pydantic_core._pydantic_core", "pydantic"


def at(func: str, *limits: Limit, **kwargs: Any) -> Attempt:
    return attempt(f"{SECLUDED}.{func}", *limits, **kwargs)


async def result(executor: Executor, func: str, **kwargs: Any) -> Any:
    outcome = await at(func, **kwargs).run(executor)
    assert outcome.kind is Kind.SUCCESS, outcome
    return codec.decode(outcome.result or "")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A file that is there once a job has begun, and that one which goes on waits for to go."""
    yield tmp_path / "there"
    for left in tmp_path.glob("there*"):  # else this process would wait for those
        left.unlink()


async def until(true: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not true():
            await anyio.sleep(0.002)


async def ended(tried: Attempt, executor: Executor, path: Path, how: Callable[[], None]) -> Outcome:
    """Run an attempt, do something to it once its file is there, and return what came of it."""
    outcomes: list[Outcome] = []

    async def run() -> None:
        outcomes.append(await tried.run(executor))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await until(path.exists)
        how()
        since = anyio.current_time()
    assert anyio.current_time() - since < 1
    return outcomes[0]


# -- what every Python says ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_jobs_per_interpreter": 0}, "max_jobs_per_interpreter must be 1 or more, or None"),
        ({"max_jobs_per_interpreter": "2"}, "it must be of type int, not str"),
        ({"max_stuck": -1}, "max_stuck must be 0 or more, not -1"),
        ({"max_jobs_per_child": 5}, "max_jobs_per_child"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidValue, match=f"{problem}.* queue 'q': executor_options"):
        installed.find_executor(Queue("q", executor="interpreter", executor_options=options))


def test_a_python_without_them_is_told_which_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subinterpreter, "AVAILABLE", False)
    here = ".".join(map(str, sys.version_info[:3]))
    said = rf"executor 'interpreter' needs .* from version 3\.13 on; here there is CPython {here}"
    with pytest.raises(BrokenOffer, match=said):
        InterpreterExecutor(InterpreterOptions(), 1, ExecutorHost((), "asyncio"))


async def test_a_producer_without_them_refuses_no_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subinterpreter, "AVAILABLE", False)
    monkeypatch.setattr(registry, "sources", lambda: [("acme_nowhere", None)])
    await installed.check_queue_aside(Queue("q", executor="interpreter"))


async def test_no_other_executor_looks_at_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(registry, "sources", lambda: asked.append("sources") or [])
    for name in ("async", "thread", "process"):
        await installed.check_queue_aside(Queue("q", executor=name))
    assert asked == []
    await installed.check_queue_aside(Queue("q", executor="interpreter"))
    assert asked == ["sources"]


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("module acme._fast does not support loading in subinterpreters", "acme._fast"),
        ("no pq wrapper: module _x does not support loading in subinterpreters", "_x"),
    ],
)
def test_the_module_that_refuses_is_found_among_the_causes(said: str, named: str) -> None:
    error = ImportError("cannot load acme")
    error.__context__ = ImportError(said)
    assert inside.problem(error) == (
        f"jobs cannot be loaded in a sub-interpreter: the module {named} refuses to be loaded "
        "there; use the executor `process`"
    )


def test_other_errors_are_told_as_they_are_however_they_are_chained() -> None:
    error = ValueError("a\0b")
    error.__context__ = error.__cause__ = other = KeyError("other")
    other.__cause__ = error
    assert inside.problem(error) == (
        "jobs cannot be loaded in a sub-interpreter: ValueError: a\\x00b"
    )


# -- the contract ----------------------------------------------------------------------------------


@needed
@pytest.mark.timeout(300)
async def test_it_passes_the_exam() -> None:
    """Dozens are made and ended, each in a fifth of a second of a processor's time."""
    await check_executor(InterpreterExecutor, patience=30)


@needed
async def test_what_is_an_experiment_is_said_so_once(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    subinterpreter.warn.cache_clear()
    for _ in range(2):
        async with opened("interpreter", anyio_backend, SECLUDED):
            pass
    assert caplog.text.count("an experiment on Python 3.13") == (sys.version_info < (3, 14))


@needed
async def test_jobs_share_the_process_and_nothing_of_python(anyio_backend: str) -> None:
    async with opened("interpreter", anyio_backend, SECLUDED) as executor:
        before = len(threading.enumerate())
        assert [await result(executor, "count") for _ in range(3)] == [1, 2, 3]
        assert secluded.calls == []
        process, thread = await result(executor, "place")
        assert process == os.getpid()
        assert thread not in (0, threading.get_native_id())
        assert len(threading.enumerate()) <= before + 1


@needed
async def test_no_job_gets_hold_of_a_handler_of_the_main_interpreter(anyio_backend: str) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        async with opened("interpreter", anyio_backend, SECLUDED) as executor:
            assert await result(executor, "ask_who_handles", number=signal.SIGUSR1) is None
    finally:
        signal.signal(signal.SIGUSR1, before)


@needed
async def test_an_interpreter_makes_way_after_so_many_jobs(anyio_backend: str) -> None:
    async with opened("interpreter", anyio_backend, SECLUDED, max_jobs_per_interpreter=2) as made:
        assert [await result(made, "count") for _ in range(5)] == [1, 2, 1, 2, 1]


@needed
async def test_where_a_job_runs_is_told_by_its_thread(anyio_backend: str, path: Path) -> None:
    async with opened("interpreter", anyio_backend) as executor:
        tried = attempt("stay_while", path=str(path))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tried.run, executor)
            await until(path.exists)
            (place,) = executor.running()
            named = {one.native_id: one.name for one in threading.enumerate()}
            path.unlink()
        assert place.job == tried.job.id
        assert named[place.thread] == f"{JOB_THREAD}tests.jobs.stay_while"
        assert executor.running() == []


@needed
async def test_what_is_logged_there_is_handled_here(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened("interpreter", anyio_backend, SECLUDED) as executor:
        await result(executor, "log", text="so")
    said, failed = (one for one in caplog.records if one.name == "acme.secluded")
    assert said.getMessage() == "it says so"
    assert "KeyError: 'so'" in str(failed.exc_text)


@needed
async def test_what_is_printed_there_is_seen_when_the_job_has_ended(
    anyio_backend: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with opened("interpreter", anyio_backend, SECLUDED) as executor:
        await result(executor, "show", text="so")
        assert capfd.readouterr() == ("so\n", "so\n")


@needed
async def test_an_interpreter_that_breaks_its_line_costs_its_own_job_alone(
    anyio_backend: str,
) -> None:
    async with opened("interpreter", anyio_backend, SECLUDED) as executor:
        assert await result(executor, "count") == 1
        (one,) = executor._idle
        one._there.shutdown(2)  # as if what runs in it had gone
        await until(lambda: one.over)
        assert await result(executor, "count") == 1
    broken = Interpreter(lambda _: None)
    broken._there.shutdown(2)
    broken.loaded = True
    with pytest.raises(ChildDied, match="the sub-interpreter ended before it had answered"):
        await broken.perform("acme.f", b"{}")
    broken.let_go()
    await anyio.to_thread.run_sync(broken.thread.join, 10)


# -- what refuses to be loaded ---------------------------------------------------------------------


@pytest.fixture
def refusing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of jobs that needs one in C which refuses."""
    (tmp_path / "acme_refused.py").write_text(f"import tests.jobs\nimport {IMPORTS}")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "acme_refused"


@needed
async def test_a_module_that_refuses_is_named_by_the_job(anyio_backend: str, refusing: str) -> None:
    async with opened("interpreter", anyio_backend, refusing) as executor:
        for _ in range(2):
            outcome = await attempt("add", a=1, b=2).run(executor)
            assert outcome.kind is Kind.UNKNOWN_FUNCTION
            assert outcome.failure is not None
            assert f"the module {REFUSES} refuses to be loaded there" in outcome.failure.message
            assert "use the executor `process`" in outcome.failure.message


@needed
async def test_a_module_that_refuses_is_named_when_the_queue_is_declared(
    refusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "sources", lambda: [("tests.jobs", None), (refusing, None)])
    queue = Queue("sums", executor="interpreter")
    said = f"queue 'sums': jobs cannot be loaded .* the module {REFUSES} refuses"
    with pytest.raises(InvalidQueue, match=said):
        await installed.check_queue_aside(queue)
    with pytest.raises(InvalidQueue, match=said):
        installed.check_queue(queue)
    monkeypatch.setattr(registry, "sources", lambda: [("tests.jobs", None)])
    await installed.check_queue_aside(queue)


@needed
async def test_the_loop_turns_while_the_jobs_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    waits = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.002)"
    (tmp_path / "acme_slow.py").write_text(waits)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "sources", lambda: [("acme_slow", None)])
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(installed.check_queue_aside, Queue("q", executor="interpreter"))
            await anyio.sleep(0.05)
            gate.touch()


@needed
async def test_a_module_that_fails_is_told_with_its_error(
    anyio_backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme_broken.py").write_text("raise LookupError('no way')")
    monkeypatch.syspath_prepend(str(tmp_path))
    async with opened("interpreter", anyio_backend, "acme_broken") as executor:
        outcome = await attempt("add", a=1, b=2).run(executor)
    assert outcome.kind is Kind.UNKNOWN_FUNCTION
    assert outcome.failure is not None
    assert outcome.failure.message.endswith("in a sub-interpreter: LookupError: no way")


# -- what nobody ends ------------------------------------------------------------------------------


@needed
async def test_a_deadline_that_is_ignored_closes_the_attempt(
    anyio_backend: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "chancy.interpreter")
    async with opened("interpreter", anyio_backend) as executor:
        await attempt("add", a=1, b=1).run(executor)  # so that it takes none of its time
        tried = attempt("stay_while", Limit(Limit.Type.TIME, 0.3), path=str(path))
        began = anyio.current_time()
        outcome = await tried.run(executor)
        assert anyio.current_time() - began < 2
        assert outcome.kind is Kind.TIMEOUT
        assert outcome.failure is not None
        assert "whose stack is not seen from here" in outcome.failure.traceback
        (left,) = executor.left
        assert left.job.id == tried.job.id
        assert "in a sub-interpreter" in left.where()
        assert executor.concurrency == 8
        assert (await attempt("add", a=1, b=1).run(executor)).result == "2"
        path.unlink()
        await until(lambda: not executor.left)
        assert left.where() == ""
    (told,) = (one.getMessage() for one in caplog.records if "thrown away" in one.msg)
    assert "(tests.jobs.stay_while) ended" in told


@needed
@pytest.mark.parametrize(("func", "raised"), [("listen", "AttemptOver"), ("wait", "Cancel")])
async def test_who_listens_is_told_that_the_attempt_is_over(
    anyio_backend: str, path: Path, func: str, raised: str
) -> None:
    async with opened("interpreter", anyio_backend, SECLUDED) as executor:
        tried = at(func, path=str(path))
        outcome = await ended(tried, executor, path, partial(tried.end, Kind.SHUTDOWN))
        assert outcome == Outcome(Kind.SHUTDOWN)
        await until(lambda: not executor.left)
        assert path.read_text().startswith(raised)


@needed
async def test_a_loop_that_asks_ends_at_its_deadline(anyio_backend: str, path: Path) -> None:
    async with opened("interpreter", anyio_backend, SECLUDED) as executor:
        await result(executor, "count")
        outcome = await at("listen", Limit(Limit.Type.TIME, 0.3), path=str(path)).run(executor)
        await until(lambda: not executor.left)
    assert outcome.kind is Kind.TIMEOUT
    assert path.read_text() in {"TimeLimitExceeded", "AttemptOver"}


@needed
async def test_each_that_is_stuck_beyond_the_most_keeps_its_slot(
    anyio_backend: str, path: Path
) -> None:
    first, second = (path.with_name(f"there{number}") for number in range(2))
    async with opened("interpreter", anyio_backend, max_stuck=1) as executor:
        for file, slots in ((first, 8), (second, 7)):
            tried = attempt("stay_while", path=str(file))
            await ended(tried, executor, file, partial(tried.end, Kind.CANCELLED))
            assert executor.concurrency == slots
        executor.resize(4)
        assert executor.concurrency == 3
        first.unlink()
        await until(lambda: executor.concurrency == 4)
        second.unlink()


@needed
async def test_what_goes_on_when_its_queue_is_closed_is_named_and_ends_by_itself(
    anyio_backend: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(threading.enumerate())
    async with opened("interpreter", anyio_backend) as executor:
        tried = attempt("stay_while", path=str(path))
        await ended(tried, executor, path, partial(tried.end, Kind.SHUTDOWN))
        since = anyio.current_time()
    assert anyio.current_time() - since < 1
    assert f"job {tried.job.id} (tests.jobs.stay_while) goes on in a sub-interpreter" in caplog.text
    (left,) = (one for one in threading.enumerate() if one.name.startswith(JOB_THREAD))
    path.unlink()
    await anyio.to_thread.run_sync(left.join, 10)
    assert not left.is_alive()
    assert not [one for one in set(threading.enumerate()) - before if "chancy" in one.name]


@needed
async def test_a_thread_that_a_job_has_left_holds_up_nobody(
    anyio_backend: str,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interpreter, "_LEAVE", 0.2)
    async with opened("interpreter", anyio_backend, SECLUDED) as executor:
        await result(executor, "start_a_thread", path=str(path))
        assert await result(executor, "count") == 1
        (thread,) = (one.thread for one in executor._all)
    assert "1 sub-interpreters have not ended after 0.2 s" in caplog.text
    async with opened("interpreter", anyio_backend, SECLUDED) as executor:
        assert await result(executor, "count") == 1  # others are made and ended meanwhile
    path.unlink()
    await anyio.to_thread.run_sync(thread.join, 10)
    assert not thread.is_alive()


@needed
async def test_cancelled_at_the_moment_at_which_it_ends(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was not answered is asked no more, and its thread ends."""
    unanswered: set[Interpreter] = set()
    asked = Interpreter.perform

    async def perform(one: Interpreter, func: str, message: bytes) -> bytes:
        assert one not in unanswered
        try:
            return await asked(one, func, message)
        except BaseException:
            unanswered.add(one)
            raise

    monkeypatch.setattr(Interpreter, "perform", perform)
    async with opened("interpreter", anyio_backend, "tests.unruly") as executor:
        race = Race("interpreter", executor)
        times: Counter[Kind] = await race.race(40)
        check(times, 40)
        assert race.undisturbed > 10
        await until(lambda: not executor.left)
    assert len(unanswered) <= times[Kind.CANCELLED]
    assert not any(one.thread.is_alive() for one in unanswered)


# -- the process that it is a part of --------------------------------------------------------------

LEAVES = """
import sys, threading, anyio
from chancy_core.executor import ExecutorHost
from chancy_core.installed import backend_name
from chancy_executors.interpreter import InterpreterExecutor, InterpreterOptions
from tests.attempts import attempt

async def main():
    host = ExecutorHost([("tests.jobs", None)], backend_name())
    async with InterpreterExecutor(InterpreterOptions(), 2, host) as executor:
        await attempt("add", a=1, b=2).run(executor)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt("stay_while", path=sys.argv[2]).run, executor)
            while not await anyio.Path(sys.argv[2]).exists():
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        assert executor.left
    print("left", flush=True)

if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1])
    {end}
"""


@needed
@pytest.mark.parametrize(
    ("end", "status"), [("", 0), ("sys.exit(3)", 3), ("import os; os._exit(75)", 75)]
)
def test_a_process_waits_for_what_goes_on_in_one_and_leaves_as_it_would(
    tmp_path: Path, anyio_backend: str, end: str, status: int
) -> None:
    script, path = tmp_path / "leaves.py", tmp_path / "there"
    script.write_text(LEAVES.replace("{end}", end))
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(script), anyio_backend, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "left\n"
            if "_exit" not in end:
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.3)
            path.unlink()
            _, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == status
    assert "Fatal" not in said
    assert "Traceback" not in said


@needed
def test_many_are_made_and_ended_side_by_side() -> None:
    """In a process of its own, since a defect of Python's here would end it."""
    script = """
import threading
from chancy_executors.subinterpreter import Subinterpreter

def again():
    for _ in range(15):
        made = Subinterpreter()
        assert made.exec("import asyncio, datetime, json, logging, socket, threading") is None
        assert made.exec("1 / 0") == "division by zero"
        made.destroy()

threads = [threading.Thread(target=again) for _ in range(4)]
for one in threads:
    one.start()
for one in threads:
    one.join()
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@needed
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.fork()", "fork not supported"),
        ("import threading; threading.Thread(target=print, daemon=True).start()", "daemon threads"),
        ("import anyio; anyio.run(anyio.to_thread.run_sync, len, 'a', backend='trio')", "daemon"),
        ("import signal; signal.signal(signal.SIGUSR1, print)", "only works in main thread"),
        ("import chancy_core.identity", "does not support loading in subinterpreters"),
    ],
)
def test_what_there_is_not_is_said_where_it_is_tried(code: str, said: str) -> None:
    made = subinterpreter.Subinterpreter()
    try:
        assert said in (made.exec(code) or "nothing")
    finally:
        made.destroy()


@needed
def test_what_a_sub_interpreter_loads_for_a_call_is_written_in_python() -> None:
    """Nothing that is needed to perform a call refuses, and no database driver is there."""
    made = subinterpreter.Subinterpreter()
    try:
        problem = made.exec(
            "from chancy_executors import inside\n"
            "import chancy, sys\n"
            "there = {name.partition('.')[0] for name in sys.modules}\n"
            "assert not there & {'psycopg', 're2', 'uuid_utils', 'cattrs'}, there"
        )
    finally:
        made.destroy()
    assert problem is None


@needed
async def test_how_far_a_job_has_come_is_told_while_it_runs(
    anyio_backend: str, tmp_path: Path
) -> None:
    path = tmp_path / "there"
    path.touch()
    tried = at("advance", path=str(path))
    async with opened("interpreter", anyio_backend, SECLUDED) as executor:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tried.run, executor)
            await until(lambda: tried.progress == Progress(99, 100))
            path.unlink()
        after = at("count")
        await after.run(executor)
    assert after.progress is None
