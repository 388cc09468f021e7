"""A thousand hostile notifications on each channel: nobody trusts them, and nobody minds."""

import time
from collections import Counter
from uuid import UUID, uuid4

import anyio
import psycopg
import pytest

from chancy import Chancy
from chancy_core import hint
from chancy_core.assign import CALM
from chancy_core.settle import Settler
from chancy_core.store.store import Store
from tests.pooled import past
from tests.stage import Stage, push
from tests.unharmed import innocent_job, unharmed

pytestmark = pytest.mark.anyio

#: What anybody who may connect can send.
NONSENSE = (
    "",
    ":",
    "::::",
    "x" * 7999,
    "\U0001f600" * 1999,
    "job.awaited:" + "x" * 7980,
    "job.awaited:",
    "job.awaited:{00000000-0000-0000-0000-00000000000}",
    "job.finished:not a uuid",
    "job.finished:",
    "job.cancelled:not a uuid",
    "queue.pushed:no such queue",
    "queue.pushed:",
    "queue.pushed:'; DROP TABLE chancy_jobs; --",
    "queue.exploded:q",
    "no.such.name:q",
    "QUEUE.PUSHED:q",
    "queue.pushed:q\n\r\t\x01\x7f\x1b[31m\u202e\ufeff",
    '{"name": "queue.pushed"}',
    "%s %(name)s {0} {name}",
)


def flood(dsn: str, payloads: list[str], *, one_by_one: bool = False) -> None:
    """Send payloads on both channels, in transactions of their own or in one."""
    with psycopg.connect(past(dsn), autocommit=one_by_one) as conn:
        for payload in payloads:
            conn.execute(
                "SELECT pg_notify('public.chancy_', %s), pg_notify('public.chancy_!', %s)",
                [payload, payload],
            )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each statement is run, by the first words that its file says of it."""
    counted: Counter[str] = Counter()
    run = Store.run

    async def counting(self, statement):
        counted[" ".join(statement.text.decode().split()[1:4])] += 1
        return await run(self, statement)

    monkeypatch.setattr(Store, "run", counting)
    return counted


async def test_a_thousand_of_nonsense_are_passed_over(
    chancy: Chancy, dsn: str, stage: Stage, caplog
):
    async with unharmed(chancy, dsn):
        (reference,) = await push(chancy, dsn, 1, queue="nobody's")
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                await chancy.wait_for_job(reference, timeout=20)

            tasks.start_soon(wait)
            await anyio.to_thread.run_sync(flood, dsn, list(NONSENSE) * 50)
            since = time.perf_counter()
            await innocent_job(chancy, dsn)
            assert time.perf_counter() - since < 2
            assert (await chancy.cancel_job(reference)).done  # and whoever waits is told
    assert "Traceback" not in caplog.text
    assert [r for r in caplog.records if r.levelname in {"WARNING", "ERROR"}] == []


async def test_a_thousand_true_words_cause_no_storm_of_queries(
    chancy: Chancy, dsn: str, stage: Stage, asked: Counter[str]
):
    """Whatever each makes a worker look at, it looks now and then."""
    looks = {
        hint.DECLARED: "What a worker",
        hint.SCHEDULED: "Move due jobs",
        hint.CANCELLED: "Of the jobs",
    }
    async with unharmed(chancy, dsn):
        for name, look in looks.items():
            asked.clear()
            since = time.perf_counter()
            words = [f"{name}:q"] * 1000
            await anyio.to_thread.run_sync(lambda words=words: flood(dsn, words, one_by_one=True))
            with anyio.fail_after(10):
                while not asked[look]:
                    await anyio.sleep(0.01)
            # Each 0.05 s, with one more for what had begun, and one that was about to.
            assert asked[look] <= (time.perf_counter() - since) / CALM + 2


async def test_a_thousand_pushes_told_at_once_are_one(
    chancy: Chancy, dsn: str, stage: Stage, asked: Counter[str]
):
    async with unharmed(chancy, dsn):
        asked.clear()
        await anyio.to_thread.run_sync(flood, dsn, [f"{hint.PUSHED}:q"] * 1000)
        await innocent_job(chancy, dsn)
        assert 1 <= asked["Claim up to"] < 50


async def test_a_thousand_who_wait_for_nothing_are_forgotten(
    chancy: Chancy, dsn: str, stage: Stage, monkeypatch
):
    settlers: list[Settler] = []
    made = Settler.__init__

    def noted(self, *given):
        made(self, *given)
        settlers.append(self)

    monkeypatch.setattr(Settler, "__init__", noted)
    monkeypatch.setattr("chancy_core.settle.REMEMBERED", 100)
    async with unharmed(chancy, dsn):
        sent = [str(uuid4()) for _ in range(1000)]
        await anyio.to_thread.run_sync(flood, dsn, [f"{hint.AWAITED}:{id_}" for id_ in sent])
        with anyio.fail_after(10):
            while UUID(sent[-1]) not in settlers[0]._awaited:
                await anyio.sleep(0.01)
        assert len(settlers[0]._awaited) == 100
