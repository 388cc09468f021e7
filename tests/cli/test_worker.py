"""`chancy worker`, in a terminal and for programs: what it runs, and how it is stopped."""

import json
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.request import urlopen

import pytest

from chancy import Chancy, Job, Queue, State
from tests.terminal import Shell

APP = """\
import time

import anyio

from chancy import INJECTED, Chancy, job

chancy = Chancy()


@job(queue="mail")
async def hold() -> None:
    print("begun", flush=True)
    await anyio.sleep_forever()


@job(queue="mail")
async def swallow() -> None:
    print("begun", flush=True)
    while True:
        try:
            await anyio.sleep_forever()
        except BaseException:
            pass


@job(queue="mail")
async def until(file: str) -> None:
    print("begun", flush=True)
    while not await anyio.Path(file).exists():
        await anyio.sleep(0.02)


@job(queue="mail")
async def chain(left: int) -> None:
    if left:
        await chancy.push(chain.bind(left=left - 1))


@job(queue="mail")
async def broken() -> None:
    raise ValueError("no luck")


@job(queue="threads")
def block() -> None:
    print("begun", flush=True)
    time.sleep(600)
"""
NOTHING = dict.fromkeys((s.value for s in State if s.finished), 0)


@pytest.fixture
def shell(shell: Shell) -> Shell:
    (shell.folder / "app.py").write_text(APP)
    return shell


@pytest.fixture
def chancy(dsn: str):
    with Chancy(dsn) as chancy:
        chancy.sync_declare(Queue("mail", executor="async"))
        chancy.sync_declare(Queue("threads", executor="thread"))
        yield chancy


def push(chancy: Chancy, *names: str, **options):
    return [chancy.sync_push(Job(f"app.{name}", queue="mail").options(**options)) for name in names]


def states(chancy: Chancy, references) -> list[State]:
    return [job.state for job in chancy.sync_get_jobs(references)]


def chain(length: int) -> Job:
    return Job("app.chain", kwargs={"left": length}, queue="mail")


def test_drain_runs_what_is_due_and_what_that_pushes(shell: Shell, chancy: Chancy):
    chancy.sync_push(chain(5))
    (broken,) = push(chancy, "broken", max_attempts=3)
    shown = shell.people("worker", "--drain")
    assert "6 succeeded, 1 failed" in shown
    assert chancy.sync_get_job(broken).attempts == 3


def test_drain_answers_programs_with_what_has_finished(shell: Shell, chancy: Chancy):
    assert shell.programs("worker", "--drain").value == NOTHING
    chancy.sync_push(chain(1))
    push(chancy, "broken")
    answer = shell.programs("worker", "--drain", "--trio")
    assert answer.value == NOTHING | {"succeeded": 2, "failed": 1}


def test_drain_leaves_what_is_not_due_or_not_for_it(shell: Shell, chancy: Chancy):
    chancy.sync_declare(Queue("paused", executor="async", state=Queue.State.PAUSED))
    chancy.sync_declare(Queue("gpu", executor="async", tags={"has=gpu"}))
    chancy.sync_declare(Queue("odd", executor="nonsense"), check=False)
    left = [
        chancy.sync_push(chain(0).options(queue=name)) for name in ("paused", "gpu", "odd", "no")
    ]
    later = datetime.now(UTC) + timedelta(hours=1)
    left.append(chancy.sync_push(chain(0).options(scheduled_at=later)))
    (due,) = push(chancy, "broken")
    assert "1 failed" in shell.people("worker", "--drain")
    assert states(chancy, left) == [State.PENDING] * 4 + [State.SCHEDULED]
    assert states(chancy, [due]) == [State.FAILED]


def test_queues_keep_it_to_some_and_tags_open_others(shell: Shell, chancy: Chancy):
    chancy.sync_declare(Queue("gpu", executor="async", tags={"has=gpu"}))
    mail, gpu = (chancy.sync_push(chain(0).options(queue=name)) for name in ("mail", "gpu"))
    shell.people("worker", "--drain", "--queues", "gpu", "--tags", "has=gpu,zone=a")
    assert states(chancy, [mail, gpu]) == [State.PENDING, State.SUCCEEDED]
    shell.people("worker", "--drain", "--queues", "gpu, mail")
    assert states(chancy, [mail]) == [State.SUCCEEDED]


def test_modules_are_enough_to_work(shell: Shell, chancy: Chancy):
    job = chancy.sync_push(chain(0))
    assert "1 succeeded" in shell.people("worker", "--drain", "--jobs", "app", CHANCY_APP="")
    assert states(chancy, [job]) == [State.SUCCEEDED]


def test_without_any_code_there_is_nothing_to_run(shell: Shell):
    assert "--app, or modules by --jobs" in shell.people("worker", code=2, CHANCY_APP="")


def test_a_schema_that_is_missing_is_refused_in_one_line(shell: Shell, empty_dsn: str):
    for words in ([], ["--drain"]):
        shown = shell.people("worker", *words, code=2, CHANCY_DSN=empty_dsn)
        assert "chancy migrate" in shown
        assert shown.startswith("chancy: ")
        assert shown.count("\n") == 1
    told = shell.programs("worker", "--drain", code=2, CHANCY_DSN=empty_dsn)
    assert json.loads(told.err)["error"] == "MigrationsNeeded"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--log-level", "loud"], "--log-level is one of debug"),
        (["--log-format", "xml"], "--log-format is one of text, json"),
        (["--queues", ","], "queues names none"),
        (["--grace-period", "soon"], "'soon' is no duration"),
        (["--health", "here"], "health is a port, or an address"),
    ],
)
def test_what_makes_no_sense_is_refused(shell: Shell, words: list[str], said: str):
    assert said in shell.people("worker", *words, code=2)


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(params=["--no-trio", "--trio"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_environment_says_where_it_tells_how_it_is(shell: Shell, chancy: Chancy, loop: str):
    file = shell.folder / "health"
    with shell.open("worker", loop, CHANCY_HEALTH="0", CHANCY_HEALTH_FILE=str(file)) as typed:
        typed.expect("health: answering on 127.0.0.1, port ")
        typed.expect(" works as ")
        wait_until(lambda: file.exists() and json.loads(file.read_text())["ready"])
        port = int(typed.text.partition("answering on 127.0.0.1, port ")[2].split()[0])
        with urlopen(f"http://127.0.0.1:{port}/ready", timeout=10) as answer:
            assert json.load(answer) == {"live": True, "ready": True, "reasons": []}
        typed.type("\x03")
        assert typed.end() == 0
    assert not file.exists()


def test_it_logs_for_programs(shell: Shell, chancy: Chancy):
    done = shell.call("worker", "--drain", "--name", "w1", "--log-format", "json")
    every = [json.loads(line) for line in done.stderr.splitlines()]
    told = [line for line in every if line["logger"] == "chancy.worker"]
    assert len(told) == 2
    assert {line["logger"] for line in every} <= {"chancy.worker", "chancy.leadership"}
    assert "worker w1 works" in told[0]["message"]
    assert told[0]["level"] == "info"


def test_without_jobs_ctrl_c_ends_it_quietly(shell: Shell, chancy: Chancy, loop: str):
    with shell.open("worker", "--name", "w1", loop) as typed:
        typed.expect("worker w1 works")
        typed.type("\x03")
        assert typed.end() == 0
    assert "stopping\n" in typed.text
    assert "Traceback" not in typed.text
    assert chancy.sync_get_all_workers() == []


def test_ctrl_c_waits_for_jobs_and_ctrl_c_again_cancels_them(
    shell: Shell, chancy: Chancy, loop: str
):
    held = push(chancy, "hold", "hold")
    with shell.open("worker", loop) as typed:
        typed.expect("begun\nbegun")
        typed.type("\x03")
        typed.expect("stopping: waiting for 2 jobs (2 x app.hold); Ctrl-C again cancels")
        typed.type("\x03")
        typed.expect("cancelling 2 jobs (2 x app.hold)")
        assert typed.end() == 0
    assert "Traceback" not in typed.text
    assert states(chancy, held) == [State.PENDING] * 2
    assert chancy.sync_get_all_workers() == []


def test_a_job_that_ends_in_time_has_ended(shell: Shell, chancy: Chancy):
    file = shell.folder / "go"
    job = chancy.sync_push(Job("app.until", kwargs={"file": str(file)}, queue="mail"))
    with shell.open("worker") as typed:
        typed.expect("begun")
        typed.type("\x03")
        typed.expect("waiting for 1 job (app.until)")
        file.touch()
        assert typed.end() == 0
    assert states(chancy, [job]) == [State.SUCCEEDED]


def test_a_job_that_does_not_end_is_left_behind(shell: Shell, chancy: Chancy, loop: str):
    job = push(chancy, "swallow")
    with shell.open("worker", "--grace-period", "0.1s", loop) as typed:
        typed.expect("begun")
        typed.type("\x03")
        assert typed.end() == 75
    assert "left behind 1 job (app.swallow)" in typed.text
    assert "Traceback" not in typed.text
    assert states(chancy, job) == [State.PENDING]
    assert chancy.sync_get_all_workers() == []


def test_a_thread_that_does_not_end_is_left_behind(shell: Shell, chancy: Chancy, loop: str):
    job = push(chancy, "block", queue="threads")
    with shell.open("worker", "--grace-period", "0", loop) as typed:
        typed.expect("begun")
        typed.type("\x03")
        assert typed.end() == 75
    assert "left behind the thread of a job (app.block)" in typed.text
    assert states(chancy, job) == [State.PENDING]


def test_sigterm_stops_it_without_talk(shell: Shell, chancy: Chancy, loop: str):
    held = push(chancy, "hold")
    with shell.open("worker", "--log-level=warning", "--grace-period=0", loop) as typed:
        typed.expect("begun")
        os.kill(typed.process.pid, signal.SIGTERM)
        assert typed.end() == 0
    assert typed.text == "begun\n"
    assert states(chancy, held) == [State.PENDING]


def test_a_drain_that_is_interrupted_says_so(shell: Shell, chancy: Chancy):
    push(chancy, "hold")
    with shell.open("worker", "--drain", "--grace-period", "0") as typed:
        typed.expect("begun")
        typed.type("\x03")
        assert typed.end() == 130
    assert "Traceback" not in typed.text
