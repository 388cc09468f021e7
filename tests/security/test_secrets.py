"""What is secret stays where it was put: a canary in it is looked for in all that is said."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import attrs
import psycopg
import pytest

from chancy import INJECTED, Chancy, Job, JobFailed, Limit, Queue, QueuedJob, State, Worker, job
from chancy_core.cli.settings import Settings
from chancy_core.errors import ChancyError, InvalidValue
from chancy_core.executor import Call
from chancy_core.outcome import Kind, Outcome
from chancy_core.store import statements
from chancy_core.store.rows import Claimed
from tests.attempts import running
from tests.terminal import CHANCY

pytestmark = pytest.mark.anyio

#: What must not be seen; and the same as a password, where some signs have to be escaped.
CANARY = "canary-4f1d"
PASSWORD = "pass canary-4f1d"


@attrs.frozen
class Person:
    id: UUID
    card: int


@job(name="secret.keep", queue="q")
async def keep(token: str, many: list[str], *, me: QueuedJob = INJECTED) -> dict[str, str]:
    me.meta["note"] = token
    return {"token": token}


@job(name="secret.fail", queue="q", max_attempts=2)
async def fail(token: str) -> None:
    raise RuntimeError("it did not work")


@job(name="secret.note", queue="q")
async def note(token: str, *, me: QueuedJob = INJECTED) -> None:
    me.meta.update(note=token, more=f"{token}\0")


@job(name="secret.wait", queue="q")
async def wait(token: str) -> None:
    await anyio.sleep_forever()


@job(name="secret.typed", queue="q")
async def typed(
    token: list[int] | None = None, who: UUID | None = None, person: Person | None = None
) -> None: ...


@job(name="secret.typed_plainly", queue="thread")
def typed_plainly(person: Person) -> None: ...


@job(name="secret.in_a_child", queue="process")
def in_a_child(token: list[int]) -> None: ...


@job(name="secret.spoil", queue="q")
async def spoil(token: str) -> str:
    return token + "\0"


def every() -> list[Job]:
    """Jobs that end in each way, with a canary in what they were given."""
    person = {"id": CANARY, "card": CANARY}
    asked = [
        keep.bind(token=CANARY, many=[CANARY]),
        fail.bind(token=CANARY),
        wait.bind(token=CANARY).with_limits([Limit(Limit.Type.TIME, 0.05)]),
        spoil.bind(token=CANARY),
        note.bind(token=CANARY),
        *(Job("secret.typed", kwargs=given) for given in ({"token": [CANARY]}, {"who": CANARY})),
        Job("secret.typed", kwargs={"person": person}),
        Job("secret.typed", kwargs={"person": CANARY}),
        Job("secret.typed_plainly", queue="thread", kwargs={"person": person}),
        Job("secret.in_a_child", queue="process", kwargs={"token": [CANARY]}),
        Job("secret.unheard_of", kwargs={"token": CANARY}),
    ]
    queues = [one.queue if one.queue != "default" else "q" for one in asked]
    return [
        one.options(queue=queue, meta={"tenant": CANARY})
        for one, queue in zip(asked, queues, strict=True)
    ]


class Heard(logging.Handler):
    """All that is logged by anybody, at whatever level."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What is logged meanwhile; none of it may hold the canary."""
    caplog.set_level(logging.DEBUG)
    handler = Heard()
    logging.root.addHandler(handler)
    yield handler.lines
    logging.root.removeHandler(handler)
    assert [line for line in handler.lines if CANARY in line] == []


async def test_no_argument_is_logged_or_told_in_an_error(
    chancy: Chancy, dsn: str, heard: list[str]
):
    """Neither in the log at DEBUG, nor in what is kept of an attempt, nor in what waiters get."""
    for name in ("thread", "process"):
        await chancy.declare(Queue(name, executor=name, concurrency=2))
    references = await chancy.push_many(every())
    async with Worker(chancy, grace_period=0):
        states = ["scheduled", *(state for state in State if state.finished)]
        jobs = await chancy.wait_for_jobs(references, timeout=30, states=states)
        held = await chancy.push(wait.bind(token=CANARY).options(unique_key="k"))
        await chancy.wait_for_job(held, timeout=10, states=["running"])
        await chancy.cancel_job(held)
        await chancy.wait_for_job(held, timeout=10)
    assert [len(one.errors) for one in jobs] == [0, 2, 1, 0, 0, *[1] * 7]
    with psycopg.connect(dsn) as conn:
        text = "SELECT errors::text FROM chancy_jobs_v1 WHERE errors IS NOT NULL"
        assert [row for row in conn.execute(text) if CANARY in row[0]] == []
    assert [line for line in heard if "its meta stays as it was" in line]
    for one in jobs:
        assert CANARY not in repr(one)
        if one.state is not State.SUCCEEDED:
            with pytest.raises(JobFailed) as failed:
                one.result()
            assert CANARY not in str(failed.value)


def public() -> list[Any]:
    """Values that hold what an application gave, as somebody may print them."""
    asked = keep.bind(token=CANARY, many=[CANARY]).options(meta={"tenant": CANARY})
    one = attrs.evolve(running("add"), kwargs={"token": CANARY}, meta={"x": CANARY})
    done = attrs.evolve(one, state=State.SUCCEEDED, returned={"token": CANARY})
    text = json.dumps({"token": CANARY})
    chancy = Chancy(f"postgresql://u:{CANARY}@localhost/x")
    call = Call(one, text)
    call.new_meta = text
    return [
        asked,
        one,
        done,
        attrs.evolve(done, returned=CANARY),
        call,
        Claimed(one, text, 1),
        Outcome(Kind.SUCCESS, text, meta=text),
        statements.push(chancy.names, {one.id: asked}),
        Settings(dsn=str(chancy.dsn)),
        chancy,
        Worker(chancy),
        keep,
    ]


@pytest.mark.parametrize("value", public(), ids=lambda value: type(value).__name__)
def test_no_repr_shows_what_was_given(value: Any):
    assert CANARY not in repr(value)
    assert CANARY not in str(value)


def test_a_repr_shows_which_arguments_there_are():
    assert "kwargs={'token': ..., 'many': ...}" in repr(keep.bind(token=CANARY, many=[]))
    assert "kwargs={}" in repr(Job("f"))


@pytest.mark.parametrize(
    "dsn",
    [
        PASSWORD,
        f"host=localhost password={PASSWORD}",
        f"host=localhost password='{CANARY}",
        f'host=localhost "{CANARY}" x',
        f"postgresql://u:{CANARY}@[::1/x",
        f"postgresql://u:{CANARY}@localhost:{CANARY}/x",
        f"postgresql://u:{CANARY}%@localhost/x",
        f"postgresql://u:{CANARY}@localhost:1/x?connect_timeout=1",
        f"host=localhost port=1 connect_timeout=1 password={CANARY}",
        {"ENGINE": "postgresql", "HOST": "localhost", "PORT": 1, "PASSWORD": CANARY},
    ],
    ids=range(10),
)
async def test_no_password_is_in_an_error(dsn: Any, heard: list[str], monkeypatch):
    monkeypatch.setattr("chancy_core.app.OPENING", 0.2)
    with pytest.raises(ChancyError) as failed:
        async with Chancy(dsn):
            pass
    assert CANARY not in "".join(map(str, causes(failed.value)))


def causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)


def test_what_is_no_packed_job_is_named_by_its_keys():
    with pytest.raises(InvalidValue, match=r"kwargs.*is no packed job") as refused:
        Job.unpack({"kwargs": {"token": CANARY}, "meta": CANARY})
    assert CANARY not in str(refused.value)


def shell(*words: str, dsn: str) -> str:
    """Return all that a command says, in a process whose environment has a canary too."""
    done = subprocess.run(
        [CHANCY, *words],
        env=os.environ | {"CHANCY_DSN": dsn, "ACME_TOKEN": CANARY, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "words", [["check"], ["check", "--json"], ["--traceback", "queue", "list"]]
)
def test_no_command_shows_a_password_that_it_cannot_use(words: list[str]):
    said = shell(*words, dsn=f"postgresql://u:{CANARY}@[x/x")
    assert "no URL" in said
    assert CANARY not in said


def test_no_command_shows_a_password_that_it_uses(dsn: str):
    said = shell("check", dsn=f"{dsn} password={CANARY}")
    assert "line 'core' is at version" in said
    assert CANARY not in said


SCRIPT = """
import os, sys
import anyio
from chancy import Chancy, Queue, Worker, job

@job(queue="q")
def look() -> list[str]:
    pids = [os.getpid(), os.getppid()]
    return [open(f"/proc/{pid}/cmdline").read().replace("\\0", " ") for pid in pids]

async def main():
    async with Chancy() as chancy:
        await chancy.declare(Queue("q", executor="process", concurrency=1))
        async with Worker(chancy):
            done = await chancy.wait_for_job(await chancy.push(look.bind()), timeout=30)
            print(*done.result(), sep="\\n")

if __name__ == "__main__":
    anyio.run(main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads command lines from /proc")
def test_no_command_line_of_a_child_has_a_secret(dsn: str, tmp_path: Path):
    """Whoever is on the machine may read them; the environment only its owner may."""
    script = tmp_path / "app.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script],
        env=os.environ | {"CHANCY_DSN": f"{dsn} password={CANARY}", "ACME_TOKEN": CANARY},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "child.main()" in done.stdout, done.stderr
    assert "app.py" in done.stdout
    assert CANARY not in done.stdout + done.stderr
