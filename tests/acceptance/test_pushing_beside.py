"""Plugins push jobs in a transaction of their own: with their statements, or not at all."""

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from chancy import Chancy, Job, Queue, State, Worker, job
from chancy_core.errors import InvalidValue
from chancy_core.hookspecs import hookimpl
from chancy_core.statement import Statement, nothing
from tests.told import hearing

pytestmark = pytest.mark.anyio


@job(name="beside.send", queue="q")
async def send(number: int) -> int:
    return number


def written(chancy: Chancy, text: str, read: Any = nothing, **params: Any) -> Statement[Any]:
    return Statement.written(text, chancy.names, params, read)


@pytest.fixture
async def outbox(chancy: Chancy) -> Chancy:
    await chancy.database.run(written(chancy, "CREATE TABLE {outbox} (job uuid)"))
    return chancy


def note(chancy: Chancy, ids: Any) -> Statement[Any]:
    text = "INSERT INTO {outbox} SELECT unnest(%(ids)s::uuid[])"
    return written(chancy, text, ids=list(ids))


async def noted(chancy: Chancy) -> list[Any]:
    read = written(chancy, "SELECT job FROM {outbox}", lambda rows: [row[0] for row in rows])
    return await chancy.database.run(read)


async def test_jobs_are_stored_with_what_is_written_beside_them(outbox: Chancy):
    push = outbox.pushing([send.bind(number=n) for n in range(3)])
    assert [job.kwargs["number"] for job in push.jobs.values()] == [0, 1, 2]
    stored, _ = await outbox.database.run(push, note(outbox, push.jobs))
    assert stored == push.jobs.keys()
    assert await noted(outbox) == list(push.jobs)
    found = {job.id: job.kwargs["number"] for job in await outbox.get_jobs(stored)}
    assert [found[id_] for id_ in push.jobs] == [0, 1, 2]


async def test_an_error_of_the_databases_undoes_them(outbox: Chancy):
    push = outbox.pushing([send.bind(number=1)])
    with pytest.raises(psycopg.errors.DivisionByZero):
        await outbox.database.run(push, note(outbox, push.jobs), written(outbox, "SELECT 1 / 0"))
    assert await noted(outbox) == []
    assert await outbox.get_jobs(push.jobs) == []


async def test_so_does_whoever_reads_an_answer_and_does_not_like_it(outbox: Chancy):
    class Unliked(Exception):
        pass

    def dislike(rows: Any) -> None:
        raise Unliked(rows)

    push = outbox.pushing([send.bind(number=1)])
    look = written(outbox, "SELECT 1", dislike)
    for order in ((look, push), (push, look)):
        with pytest.raises(Unliked):
            await outbox.database.run(*order)
        assert await outbox.get_jobs(push.jobs) == []


async def test_one_whose_key_is_held_is_not_stored(outbox: Chancy):
    held = await outbox.push(send.bind(number=0).options(unique_key="k"))
    push = outbox.pushing([send.bind(number=n).options(unique_key=k) for n, k in enumerate("jk")])
    stored = await outbox.database.run(push)
    first, second = push.jobs
    assert stored == {first}
    assert {job.id for job in await outbox.get_jobs([held, first, second])} == {held.id, first}


@pytest.mark.parametrize(
    "nonsense",
    [Job("beside.send", kwargs={"numb": 1}), Job("f", kwargs={"x": float("nan")}), "send", None],
)
async def test_what_cannot_be_stored_is_refused_before_anything_is_run(
    chancy: Chancy, nonsense: Any
):
    with pytest.raises(InvalidValue):
        chancy.pushing([send.bind(number=1), nonsense])


async def test_of_none_nobody_is_told(chancy: Chancy, monkeypatch):
    push = chancy.pushing([])
    assert await chancy.database.run(push) == set()
    monkeypatch.setattr(chancy.plugins, "pushed", lambda references: pytest.fail("told"))
    await chancy.pushed(push, [])


async def test_workers_are_woken_and_plugins_told_of_what_was_stored(dsn: str):
    heard: list[Any] = []

    class Hearing:
        @hookimpl
        def chancy_job_meta(self, job: Job) -> dict[str, Any]:
            return {"heard": True}

        @hookimpl
        def chancy_jobs_pushed(self, references: Any) -> None:
            heard.append(list(references))

    async with Chancy(dsn, plugins=[Hearing()]) as chancy:
        await chancy.declare(Queue("q", executor="async"))
        async with hearing(Worker(chancy, signals=False)) as worker:
            held = send.bind(number=1).options(unique_key="k")
            push = chancy.pushing([held, send.bind(number=2)])
            first, second = push.jobs
            with worker.events.subscribe("queue.pushed") as told:
                stored = await chancy.database.run(push)
                await chancy.pushed(push, stored)
                assert (await told.next(timeout=10)).subject == "q"
            done = await chancy.wait_for_jobs([first, second], timeout=20)
    assert [one.state for one in done] == [State.SUCCEEDED] * 2
    assert all(one.meta == {"heard": True} for one in done)
    assert heard[-1] == [first, second]


async def test_workers_are_woken_for_what_sql_pushed(chancy: Chancy):
    packed = [Jsonb(send.bind(number=7).pack())]
    text = "SELECT * FROM {push_packed}(%(packed)s::jsonb[])"
    async with hearing(Worker(chancy)) as worker:
        with worker.events.subscribe("queue.pushed") as told:
            ids = written(chancy, text, lambda rows: [row[0] for row in rows], packed=packed)
            (id_,) = await chancy.database.run(ids)
            await chancy.wake("q")
            event = await told.next(timeout=10)
        assert event.subject == "q"
        assert (await chancy.wait_for_job(id_, timeout=30)).result() == 7


async def test_a_worker_that_is_woken_looks_itself_and_tells_the_others(
    chancy: Chancy, monkeypatch: pytest.MonkeyPatch
):
    async with hearing(Worker(chancy)) as worker:
        assert worker.lanes is not None
        fed: list[Any] = []
        monkeypatch.setattr(worker.lanes, "feed", fed.append)
        with worker.events.subscribe("queue.pushed") as told:
            await worker.wake("q", "r")
            assert fed[:1] == [("q", "r")]
            assert {(await told.next(timeout=10)).subject for _ in "qr"} == {"q", "r"}
