"""How the commands of the executor `subprocess` end, with all that they have started."""

import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from chancy import Chancy, Job, JobFailed, Limit, Queue, State, Worker
from chancy_core.errors import CommandFailed, ExamFailed
from chancy_core.executor import Call
from chancy_core.outcome import Kind, Outcome
from chancy_core.testing import check_executor
from chancy_core.testing.exam.commands import LINE, NAME
from chancy_executors.allowed import Given
from chancy_executors.command import CommandExecutor
from tests.attempts import fifo, is_gone, read
from tests.lines import allowing, asked, python, ran, result, sh

pytestmark = pytest.mark.anyio

#: Has a child, and waits for it; both have the fifo open, of which a reader sees the end when both
#: have ended. Nothing stays for longer than a minute, whatever fails.
HOLD = 'exec 3>"$1"; sleep 60 & echo $$ >&3; wait'


@pytest.mark.parametrize("ends_as", [Kind.CANCELLED, Kind.SHUTDOWN])
async def test_a_command_that_is_cancelled_ends_with_all_that_it_has_started(
    ends_as: Kind, anyio_backend: str, tmp_path: Path
) -> None:
    begun = fifo(tmp_path)
    outcomes: list[Outcome] = []

    async def run() -> None:
        outcomes.append(await tried.run(executor))

    async with allowing(anyio_backend, {"it": sh(HOLD, args=1)}) as executor:
        tried = asked("it", args=[str(begun)])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            async with await anyio.open_file(begun) as said:
                pid = int(await said.readline())
                since = anyio.current_time()
                tried.end(ends_as)
                with anyio.fail_after(20):
                    assert await said.read() == ""
        assert anyio.current_time() - since < 2
    assert outcomes == [Outcome(ends_as)]
    assert is_gone(pid)


async def test_so_does_one_whose_time_is_over(anyio_backend: str, tmp_path: Path) -> None:
    begun = fifo(tmp_path)
    heard: list[str] = []

    async def hear() -> None:
        heard.append(await read(begun))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear)
            limit = Limit(Limit.Type.TIME, 1)
            outcome = await ran(anyio_backend, sh(HOLD, args=1), limit, args=[str(begun)])
    assert outcome.kind is Kind.TIMEOUT
    assert outcome.failure is not None
    assert outcome.failure.type == "TimeLimitExceeded"
    assert is_gone(int(heard[0]))


async def test_what_a_command_leaves_running_ends_with_it(
    anyio_backend: str, tmp_path: Path
) -> None:
    begun = fifo(tmp_path)
    script = 'exec 3>"$1"; sleep 60 & echo begun >&3; echo over'
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, begun)  # to its end: until nobody is left
            outcome = await ran(anyio_backend, sh(script, args=1), args=[str(begun)])
    assert result(outcome)["stdout"] == "over\n"


#: Leaves a process that has gone into a session of its own, where nobody finds it, and that holds
#: the command's pipes.
ESCAPE = """
import subprocess, sys
script = 'echo out; read line < "$1"'
subprocess.Popen(["sh", "-c", script, "sh", sys.argv[1]], start_new_session=True)
print("over", file=sys.stderr)
"""


async def test_what_has_escaped_it_holds_up_nobody(anyio_backend: str, tmp_path: Path) -> None:
    gate = fifo(tmp_path)
    try:
        with anyio.fail_after(20):
            outcome = await ran(anyio_backend, python(ESCAPE, args=1), args=[str(gate)])
    finally:
        await to_thread.run_sync(gate.write_text, "go\n")
    assert result(outcome)["stderr"] == "over\n"


#: Says a last word when it is asked to end, and much before that which has to be read.
POLITE = """
trap 'head -c 300000 /dev/zero; echo bye >&3; exit' TERM
exec 3>"$1"; echo $$ >&3
while :; do sleep 0.02; done
"""
DEAF = POLITE.replace("head", ": || head").replace("exit'", "'")


@pytest.mark.parametrize(
    ("script", "grace", "last"), [(POLITE, 0.5, "bye\n"), (POLITE, 0, ""), (DEAF, 0.2, "bye\n")]
)
async def test_a_queue_may_have_its_commands_asked_before_they_are_ended(
    script: str, grace: float, last: str, anyio_backend: str, tmp_path: Path
) -> None:
    begun = fifo(tmp_path)
    async with allowing(anyio_backend, {"it": sh(script, args=1)}, grace=grace) as executor:
        tried = asked("it", args=[str(begun)])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tried.run, executor)
            async with await anyio.open_file(begun) as said:
                pid = int(await said.readline())
                since = anyio.current_time()
                tried.end(Kind.CANCELLED)
                with anyio.fail_after(20):
                    assert await said.read() == last
        if script is DEAF:
            assert anyio.current_time() - since >= grace
    assert is_gone(pid)


async def test_closing_leaves_no_file_open(anyio_backend: str) -> None:
    async def use() -> int:
        commands = {"good": sh("cat"), "bad": sh("exit 1"), "no": {"argv": ["acme-tool"]}}
        async with (
            allowing(anyio_backend, commands) as executor,
            anyio.create_task_group() as tasks,
        ):
            for name in commands:
                tasks.start_soon(asked(name, stdin="text").run, executor)
        return len(list(Path("/dev/fd").iterdir()))

    first = await use()  # what the event loop opens once, and keeps
    assert await use() <= first


OPTIONS = {"commands": {NAME: {"argv": list(LINE), "args": 4}}}


async def test_it_passes_the_exam() -> None:
    await check_executor(CommandExecutor, options=OPTIONS)


class SwallowsCancellation(CommandExecutor):
    """Takes being cancelled for a result."""

    async def run(self, call: Call) -> Any:
        try:
            return await super().run(call)
        except anyio.get_cancelled_exc_class():
            return None


class ByShell(CommandExecutor):
    """Puts a line together, and has a shell take it apart."""

    async def run(self, call: Call) -> Any:
        command = self._command(call.job)
        given = Given.read(call.job, command)
        line = " ".join([*command.argv, *given.args])
        done = await anyio.run_process(line, input=(given.stdin or "").encode(), check=False)
        return {"status": 0, "stdout": done.stdout.decode(), "stderr": ""}


class KillsNobody(CommandExecutor):
    """Says that it ends commands, and only ceases to wait for them."""

    async def run(self, call: Call) -> Any:
        command = self._command(call.job)
        given = Given.read(call.job, command)
        text = (given.stdin or "").encode()
        line = [*command.argv, *given.args]
        run = partial(subprocess.run, line, input=text, capture_output=True, check=False)
        done = await to_thread.run_sync(run, abandon_on_cancel=True)
        if done.returncode:
            raise CommandFailed(f"{done.returncode}: {done.stderr.decode()}")
        return {"status": 0, "stdout": done.stdout.decode(), "stderr": ""}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (SwallowsCancellation, "should end, and let the cancellation through"),
        (ByShell, "by no shell"),
        (KillsNobody, "HARD_KILL should end"),
    ],
)
async def test_one_that_does_it_wrong_is_rejected(made: type[CommandExecutor], said: str) -> None:
    with pytest.raises(ExamFailed) as failed:
        await check_executor(made, options=OPTIONS, patience=1)
    assert said in failed.value.failures["commands"]
    assert failed.value.failures.keys() <= {"commands", "leaves nothing"}


async def test_a_worker_runs_what_is_pushed_by_the_name_of_a_command(dsn: str) -> None:
    commands = {
        "shout": {"argv": ["tr", "a-z", "A-Z"]},
        "fail": sh("echo no way >&2; exit 3"),
        "hold": {"argv": ["sleep", "60"]},
    }
    lines = Queue(
        "lines", executor="subprocess", concurrency=3, executor_options={"commands": commands}
    )
    async with Chancy(dsn) as chancy:
        await chancy.declare(lines)
        shout = await chancy.push(Job("shout", queue="lines", kwargs={"stdin": "hello"}))
        fail = await chancy.push(Job("fail", queue="lines"))
        hold = await chancy.push(Job("hold", queue="lines"))
        async with Worker(chancy):
            done, failed = await chancy.wait_for_jobs([shout, fail], timeout=20)
            await chancy.wait_for_job(hold, timeout=20, states=["running"])
            await chancy.cancel_job(hold)
            held = await chancy.wait_for_job(hold, timeout=20)
    assert done.result() == {"status": 0, "stdout": "HELLO", "stderr": ""}
    with pytest.raises(JobFailed, match="CommandFailed: fail left with status 3: no way"):
        failed.result()
    assert (failed.attempts, held.state) == (1, State.CANCELLED)
