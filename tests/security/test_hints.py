"""NOTIFY is never trusted: whoever may connect may say anything, and it changes nothing."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from uuid import uuid4

import anyio
import psycopg
import pytest

from chancy import Chancy, State, Worker
from chancy_core import hint
from chancy_core.assign import CALM
from chancy_core.store.store import Store
from tests.faults.sizes import figure, size
from tests.nobody import runs_when_told
from tests.stage import Stage, connect, push

pytestmark = pytest.mark.anyio

KNOWN = [getattr(hint, name) for name in dir(hint) if name.isupper() and name != "OURS"]
NAMES = [name for name in KNOWN if isinstance(name, str)]


def forged(count: int, subjects: list[str]) -> list[str]:
    """Return hostile payloads: true names with true and false subjects, cut, doubled and mixed."""
    chance = random.Random(11)
    letters = "\x01\t\n:.{}[]\"'\\%$;\u202e\ud7ff\U0001f600 abcQ0"

    def noise() -> str:
        return "".join(chance.choices(letters, k=chance.randint(0, 60)))

    made = [f"{name}:{subject}" for name in NAMES for subject in subjects]
    while len(made) < count:
        name, subject = chance.choice(NAMES), chance.choice([*subjects, str(uuid4()), noise()])
        made.append(
            chance.choice(
                (
                    f"{name}:{subject}",
                    f"{name}{subject}",
                    f"{name.upper()}:{subject}",
                    f"{name}:{subject}:{subject}",
                    f"{name[: chance.randrange(len(name))]}:{subject}",
                    f"worker.{noise()}:{subject}",
                    noise(),
                    subject * 100,
                )
            )
        )
    chance.shuffle(made)
    return [payload[:1900] for payload in made]


def flood(dsn: str, channels: list[str], payloads: list[str]) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        for payload in payloads:
            for channel in channels:
                conn.execute("SELECT pg_notify(%s, %s)", [channel, payload])


async def rows(dsn: str) -> list[object]:
    """All that is stored, but until when leases are good."""
    async with await connect(dsn) as conn:
        found: list[object] = []
        for table in ("jobs", "history", "queues", "rates"):
            cursor = await conn.execute(f"SELECT xmin, * FROM chancy_{table}".encode())
            found += sorted(map(repr, await cursor.fetchall()))
        cursor = await conn.execute("SELECT id, name, dead FROM chancy_workers")
        return found + await cursor.fetchall()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each statement is run, by the first words that its file says of it."""
    counted: Counter[str] = Counter()
    run = Store.run

    async def counting(self, *statements):
        counted.update(" ".join(one.text.decode().split()[1:4]) for one in statements)
        return await run(self, *statements)

    monkeypatch.setattr(Store, "run", counting)
    return counted


@pytest.fixture
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "count",
    [
        300,
        pytest.param(size(1000, 10_000), marks=[pytest.mark.faults, pytest.mark.timeout(1800)]),
    ],
)
@pytest.mark.usefixtures("slow", "_quiet")
async def test_a_stranger_changes_nothing_however_much_he_says(
    chancy: Chancy, stage: Stage, stranger: str, asked: Counter[str], count: int
):
    dsn = str(chancy.dsn)
    (running,) = await push(chancy, dsn, 1)
    (waiting,) = await push(chancy, dsn, 1, queue="nobody's")
    async with Worker(chancy) as worker, anyio.create_task_group() as tasks:
        tasks.start_soon(chancy.wait_for_job, waiting)
        await stage.until_begun(1)
        await anyio.sleep(0.2)  # what looks when it starts, has looked
        before = await rows(dsn)
        asked.clear()
        since = time.monotonic()
        channels = [chancy.names.channel, chancy.names.answers]
        subjects = ["q", "slow", "nobody's", str(running), str(waiting), str(worker.name)]
        payloads = forged(count, subjects)
        await anyio.to_thread.run_sync(flood, stranger, channels, payloads)
        await anyio.sleep(2 * CALM)
        figure("hostile notifications, on each of two channels", count)
        assert sum(asked.values()) > 1  # a hint has somebody look
        # A worker claims once for each push that it hears of, one claim at a time: they wait for
        # nothing, as the jobs do not. All else that it looks for, it looks for now and then.
        pushes = sum(hint.Hint.read(payload).name == hint.PUSHED for payload in payloads)
        assert asked.pop("Claim up to", 0) <= pushes + 3
        allowed = (time.monotonic() - since) / CALM + 3
        assert {what: n for what, n in asked.items() if n > allowed} == {}
        assert await rows(dsn) == before
        assert stage.now == 1
        stage.go.set()
        await runs_when_told(chancy, dsn)  # the listener is alive, of the worker and of the app
        assert (await chancy.wait_for_job(running, timeout=10)).claims == 1
        assert (await chancy.get_job(waiting)).state is State.PENDING
        assert (await chancy.cancel_job(waiting)).done
    with psycopg.connect(stranger) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("SELECT FROM chancy_jobs")
