"""What an idle worker asks of the database: little, and nothing that is not listed here."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import anyio
import psycopg
import pytest

from chancy import Queue, State, Worker
from chancy_core import assign, wake
from tests.faults.wire import _first_lines
from tests.stage import connect, play
from tests.told import hearing

#: How often a worker with ten idle queues may ask what, in so many seconds. Whoever adds a loop has
#: to find room for it: twenty such workers may ask twenty questions a second in all.
WINDOW = 6.0
MOST = {"renew": 3, "look": 2, "orphaned": 1, "listens": 1, "audit": 1}
#: And all plugins that are shipped together, in the worker that leads what there is to lead.
PLUGINS = 3


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count all that this process sends to a server, by its name or its text."""
    names, sent = _first_lines(), Counter[str]()
    names[b"SELECT pg_catalog.pg_listening_channels()"] = "listens"

    def note(text: bytes | str) -> None:
        line = (text.encode() if isinstance(text, str) else text).split(b"\n", 1)[0]
        sent[names.get(line, line.decode())] += 1

    prepare = psycopg.Cursor._maybe_prepare_gen
    command = psycopg.Connection._exec_command

    def prepared(self, pgq, **settings):
        note(pgq.query)
        return prepare(self, pgq, **settings)

    def commanded(self, text, *args, **settings):
        note(text)
        return command(self, text, *args, **settings)

    with monkeypatch.context() as patch:
        for cursor in (psycopg.Cursor, psycopg.AsyncCursor):
            patch.setattr(cursor, "_maybe_prepare_gen", prepared)
        patch.setattr(psycopg._connection_base.BaseConnection, "_exec_command", commanded)
        yield sent


@pytest.mark.anyio
@pytest.mark.slow
async def test_an_idle_worker_asks_less_than_once_a_second(chancy, monkeypatch):
    for n in range(9):
        await chancy.declare(Queue(f"q{n}", executor="async"))
    async with hearing(Worker(chancy)) as worker:
        while len(worker.queues) < 11:  # with `q` and `default`
            await anyio.sleep(0.01)
        with counting(monkeypatch) as sent:
            while sent["look"] < 2:  # all have looked for work, and found none
                await anyio.sleep(0.05)
            sent.clear()
            await anyio.sleep(WINDOW)
    plugins = Counter({what: n for what, n in sent.items() if what.startswith("-- ")})
    core = sent - plugins
    assert core.keys() <= MOST.keys()
    assert {what: times for what, times in core.items() if times > MOST[what]} == {}
    assert core.total() <= WINDOW
    assert plugins.total() <= PLUGINS, plugins
    assert sent["renew"] >= 2, "nothing was counted"


@pytest.mark.anyio
async def test_a_look_at_the_queues_finds_what_nobody_told_of(chancy, dsn, stage, monkeypatch):
    """It takes the place of polls, so it must see what they would: suspects, and what is due."""
    monkeypatch.setattr(assign, "LOOK_AROUND", 0.3)
    monkeypatch.setattr(assign.Lanes, "poll", lambda lanes: 3600.0)
    monkeypatch.setattr(wake, "LOOK_AROUND", 3600.0)
    chancy.notifications = False
    stage.go.set()
    async with Worker(chancy) as worker:
        while "q" not in worker.queues:
            await anyio.sleep(0.01)
        for wait, crashes in ((None, 0), (None, 1), (1.0, 0)):
            while any(lane.hungry for lane in worker.lanes):
                await anyio.sleep(0.01)
            async with await connect(dsn) as conn, conn.transaction():
                due = wait and datetime.now(UTC) + timedelta(seconds=wait)
                asked = play.bind(stage=dsn, number=0).options(scheduled_at=due)
                reference = await chancy.push_ex(conn, asked)
                await conn.execute("UPDATE chancy_jobs SET crashes = %s", [crashes])
            done = await chancy.wait_for_job(reference, timeout=5)
            assert done.state is State.SUCCEEDED


def test_polls_come_together_and_never_late(monkeypatch):
    """One claim serves all queues with one interval, whenever each was opened."""
    now, polled = 1000.0, []
    monkeypatch.setattr(assign.anyio, "current_time", lambda: now)
    intervals = {"a": 5.0, "b": 5.0, "c": 5.0, "rare": 60.0, "often": 0.5}
    lanes = {
        name: SimpleNamespace(
            hungry=False, next_poll=now + n, queue=Queue(name, polling_interval=every)
        )
        for n, (name, every) in enumerate(intervals.items())
    }
    last = dict.fromkeys(lanes, now + 5.0)
    for _ in range(400):
        now += assign.Lanes.poll(SimpleNamespace(current=lanes)) + 1e-9
        assign.Lanes.poll(SimpleNamespace(current=lanes))
        for name, lane in lanes.items():
            assert now - last[name] <= intervals[name] + 1e-6, f"{name} was polled late"
            if lane.hungry:
                last[name], lane.hungry = now, False
        polled.append(frozenset(name for name in "abc" if last[name] == now))
    assert set(polled[50:]) == {frozenset(), frozenset("abc")}
