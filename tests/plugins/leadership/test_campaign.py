"""Who leads: one of all, until it stops, dies, or may no longer be sure of it."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import anyio
import psycopg
import pytest
from attrs import define, field

from chancy import Chancy, Queue, Worker, job
from chancy_core.errors import DatabaseError, InvalidValue
from chancy_core.events import Events
from chancy_core.hookspecs import hookimpl
from chancy_core.host import Service
from chancy_core.statement import Statement
from chancy_plugins import trouble
from chancy_plugins.leadership import Term, TermOver, campaign, leaders, led, statements
from chancy_plugins.leadership import term as terms

pytestmark = pytest.mark.anyio


@job(name="leaders.job", queue="q")
async def something() -> None:
    pass


@define(eq=False)
class Host:
    """A worker, as far as a campaign knows one."""

    name: str
    chancy: Any
    events: Events = field(factory=Events)


@define(eq=False)
class Duty:
    """What a leader does: it notes that it does."""

    does: set[str] = field(factory=set)
    terms: list[tuple[str, int]] = field(factory=list)
    most: int = 0

    def of(self, name: str) -> Callable[[Term], Any]:
        async def serve(term: Term) -> None:
            self.does.add(name)
            self.most = max(self.most, len(self.does))
            self.terms.append((name, term.number))
            try:
                await anyio.sleep_forever()
            finally:
                self.does.discard(name)

        return serve

    async def done_by(self, *others_than: str, within: float = 15) -> str:
        """The name of who does it, if that is none of these."""
        with anyio.fail_after(within):
            while True:
                for name in self.does - set(others_than):
                    return name
                await anyio.sleep(0.01)


@asynccontextmanager
async def running(*services: Service) -> AsyncIterator[list[anyio.CancelScope]]:
    """Run services, each in a scope of its own."""
    scopes = [anyio.CancelScope() for _ in services]

    async def run(service: Service, scope: anyio.CancelScope) -> None:
        with scope:
            await service.run()

    async with anyio.create_task_group() as tasks:
        for service, scope in zip(services, scopes, strict=True):
            tasks.start_soon(run, service, scope)
        yield scopes
        tasks.cancel_scope.cancel()


async def sql(chancy: Chancy, text: str, **params: Any) -> list[Any]:
    return await chancy.database.run(Statement.written(text, chancy.names, params, list))


async def test_one_of_ten_leads_and_the_next_begins_at_once(chancy_app: Chancy):
    """W13: the first did so after 60 s, the next after 120 s."""
    duty = Duty()
    services = [led(Host(f"w{n}", chancy_app), "acme", duty.of(f"w{n}"), ttl=60) for n in range(10)]
    async with running(*services) as scopes:
        first = await duty.done_by(within=5)
        await anyio.sleep(0.3)
        assert duty.terms == [(first, 1)]
        (leader,) = await leaders(chancy_app)
        assert (leader.name, leader.worker, leader.term) == ("acme", first, 1)
        assert 50 < leader.expires_in <= 60
        scopes[int(first[1:])].cancel()
        with anyio.fail_after(5):
            while not duty.does - {first}:
                tell_all("acme")  # no worker listens here: see the next test
                await anyio.sleep(0.05)
    assert duty.most == 1
    assert [number for _, number in duty.terms] == [1, 2]
    assert await leaders(chancy_app) == []


def tell_all(name: str) -> None:
    for host in list(campaign._campaigns):
        campaign.told(host, name)


class Led:
    """A plugin whose duty notes who does it."""

    def __init__(self, duty: Duty, ttl: float = 60) -> None:
        self._duty, self._ttl = duty, ttl

    @hookimpl
    def chancy_worker_services(self, worker):
        return [led(worker, "acme", self._duty.of(worker.name), ttl=self._ttl)]


async def test_a_worker_that_stops_is_followed_at_once(chancy_app: Chancy, chancy_dsn: str):
    duty = Duty()
    async with (
        Chancy(chancy_dsn, plugins=[Led(duty)]) as one,
        Chancy(chancy_dsn, plugins=[Led(duty)]) as two,
    ):
        first, second = Worker(one, name="a", signals=False), Worker(two, name="b", signals=False)
        events: list[tuple[str, str, str, Any]] = []
        for worker in (first, second):
            name = worker.name
            worker.events.on(
                "leadership.*",
                lambda event, name=name: events.append(
                    (name, event.name, event.subject, event.value)
                ),
            )
        async with first:
            await duty.done_by()
            async with second:
                with anyio.fail_after(15):  # it works before it listens
                    await heard(chancy_app, second)
                first.stop()
                assert await duty.done_by("a", within=5) == "b"
    # Others have leaders too; and what is released is told by everybody, and may come late.
    ours = [one for one in events if one[2] == "acme" and one[1] != "leadership.released"]
    assert [(name, what, subject) for name, what, subject, _ in ours] == [
        ("a", "leadership.gained", "acme"),
        ("a", "leadership.lost", "acme"),
        ("b", "leadership.gained", "acme"),
        ("b", "leadership.lost", "acme"),
    ]
    assert [value.number for *_, value in ours] == [1, 1, 2, 2]
    assert duty.most == 1


async def heard(chancy: Chancy, worker: Worker) -> None:
    """Wait until a worker hears hints."""
    with worker.events.subscribe("acme.ping") as told:
        while True:
            await chancy.notify("acme.ping")
            with anyio.move_on_after(0.3):
                await told.next()
                return


async def test_who_dies_is_followed_once_its_lease_is_over(chancy_app: Chancy):
    """As after `kill -9`: nobody renews, and nobody says so."""
    names = chancy_app.names
    dead = statements.campaign(names, "acme", uuid4(), "dead", 1.0)
    assert await chancy_app.database.run(dead) == 1
    duty = Duty()
    async with running(led(Host("alive", chancy_app), "acme", duty.of("alive"), ttl=1)):
        await anyio.sleep(0.3)
        assert duty.terms == []
        await duty.done_by(within=10)
    assert duty.terms == [("alive", 2)]


async def test_a_leader_without_its_database_stops_before_another_begins(
    chancy_app: Chancy, monkeypatch, caplog
):
    cut = Cut(chancy_app)
    duty = Duty()
    one = led(Host("cut", cut), "acme", duty.of("cut"), ttl=2)
    other = led(Host("other", chancy_app), "acme", duty.of("other"), ttl=2)
    async with running(one):
        await duty.done_by()
        async with running(other):
            await anyio.sleep(1)  # by now it has renewed once, at least
            cut.off = True
            assert await duty.done_by("cut", within=10) == "other"
            assert duty.most == 1
            assert "asking who leads 'acme' failed, try 1" in caplog.text
            cut.off = False
            await anyio.sleep(1)
            assert duty.does == {"other"}
    assert duty.terms == [("cut", 1), ("other", 2)]


class Cut:
    """An application whose database is there, or is not."""

    def __init__(self, app: Chancy) -> None:
        self._app, self.off = app, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    @property
    def database(self) -> "Cut":
        return self

    async def run(self, *statements: Statement[Any]) -> Any:
        if self.off:
            raise DatabaseError("there is no network")
        return await self._app.database.run(*statements)


async def test_a_database_that_does_not_answer_is_none(chancy_app: Chancy):
    """A link that is dead, and says nothing, ends the duty as well."""

    class Silent(Cut):
        async def run(self, *statements: Statement[Any]) -> Any:
            if self.off:
                await anyio.sleep_forever()
            return await self._app.database.run(*statements)

    silent = Silent(chancy_app)
    duty = Duty()
    async with running(led(Host("silent", silent), "acme", duty.of("silent"), ttl=1)):
        await duty.done_by()
        silent.off = True
        with anyio.fail_after(10):
            while duty.does:
                await anyio.sleep(0.01)
        assert len(duty.terms) == 1


async def test_who_finds_its_term_over_stops(chancy_app: Chancy, caplog):
    """Somebody took the row away, or put the clock of the database forward."""
    duty = Duty()
    async with running(led(Host("w", chancy_app), "acme", duty.of("w"), ttl=1)):
        await duty.done_by()
        await sql(chancy_app, "DELETE FROM {leaders} RETURNING name")
        with anyio.fail_after(10):
            while len(duty.terms) < 2:
                await anyio.sleep(0.01)
    assert "its term 1 of leading 'acme' was over before it was renewed" in caplog.text


async def test_a_duty_that_raises_gives_the_leadership_up(chancy_app: Chancy):
    async def broken(term: Term) -> None:
        raise RuntimeError(f"a defect in term {term.number}")

    service = led(Host("broken", chancy_app), "acme", broken, ttl=60)
    for number in (1, 2):
        with pytest.raises(RuntimeError, match=f"a defect in term {number}"):
            await service.run()
        assert await leaders(chancy_app) == []
    duty = Duty()
    async with running(led(Host("sound", chancy_app), "acme", duty.of("sound"), ttl=60)):
        await duty.done_by(within=5)


async def test_a_duty_that_hangs_is_ended_and_gives_the_leadership_up(chancy_app: Chancy):
    async def hanging(_: Term) -> None:
        await anyio.sleep_forever()

    service = led(Host("w", chancy_app), "acme", hanging, ttl=60, patience=0.2)
    with anyio.fail_after(10), pytest.raises(TimeoutError, match=r"not heard of for 0\.2 s"):
        await service.run()
    assert await leaders(chancy_app) == []


async def test_one_that_is_heard_goes_on_and_says_what_keeps_it(chancy_app: Chancy):
    heard: list[int] = []

    async def busy(term: Term) -> None:
        while True:
            term.beat(None if len(heard) > 100 else "there is no paper")
            heard.append(term.number)
            await anyio.sleep(0.02)

    service = led(Host("w", chancy_app), "acme", busy, ttl=1, patience=0.5)
    async with running(service):
        with anyio.fail_after(20):
            while len(heard) < 80:  # it has been renewed meanwhile
                await anyio.sleep(0.01)
            assert service.trouble == "there is no paper"
            while service.trouble:
                await anyio.sleep(0.01)
    assert set(heard) == {1}


@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan"), True, "a minute"])
async def test_a_patience_that_makes_no_sense(chancy_app: Chancy, wrong: Any):
    with pytest.raises(InvalidValue, match="a duty's patience must be more than 0 seconds, not"):
        led(Host("w", chancy_app), "acme", Duty().of("w"), patience=wrong)


async def test_one_that_leaves_by_sys_exit_is_no_better(chancy_app: Chancy):
    async def leaving(term: Term) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await led(Host("w", chancy_app), "acme", leaving).run()
    assert await leaders(chancy_app) == []


async def test_a_duty_that_returns_is_done_for_its_term(chancy_app: Chancy):
    done: list[int] = []

    async def once(term: Term) -> None:
        done.append(term.number)

    service = led(Host("w", chancy_app), "acme", once, ttl=1)
    async with running(service):
        with anyio.fail_after(5):
            while not done:
                await anyio.sleep(0.01)
        await anyio.sleep(2.5)
        assert done == [1]
        assert [leader.term for leader in await leaders(chancy_app)] == [1]


async def test_without_its_table_it_says_so_and_the_worker_goes_on(
    chancy_app: Chancy, chancy_dsn: str, monkeypatch, caplog
):
    monkeypatch.setattr(trouble, "LASTING", 0.2)
    caplog.set_level(logging.INFO, "chancy.leadership")
    duty = Duty()
    await chancy_app.declare(Queue("q", executor="async"))
    async with (
        Chancy(chancy_dsn, plugins=[Led(duty, ttl=1)]) as chancy,
        Worker(chancy, signals=False),
    ):
        await duty.done_by()
        await chancy_app.migrate(to={"leadership": 0})
        with anyio.fail_after(15):
            while (
                "asking who leads 'acme' fails on this worker: its tables are not there: run"
                not in caplog.text
            ):
                await anyio.sleep(0.02)
        await anyio.sleep(1)
        done = await chancy.wait_for_job(await something.push(chancy), timeout=10)
        assert done.state == "succeeded"
        ours = [one for one in caplog.records if "leads 'acme'" in one.getMessage()]
        said = [one for one in ours if "chancy migrate" in one.getMessage()]
        assert [(one.levelname, one.name) for one in said] == [("ERROR", "chancy.leadership")]
        await chancy_app.migrate()
        terms = len(duty.terms)
        with anyio.fail_after(15):
            while len(duty.terms) == terms:
                await anyio.sleep(0.02)
    assert "asking who leads 'acme' works again" in caplog.text


async def test_connections_that_are_cut_are_outlived(chancy_app: Chancy, chancy_dsn: str):
    """W2: one lost connection ended leadership for good."""
    duty = Duty()
    async with (
        Chancy(chancy_dsn) as other,
        running(led(Host("w", chancy_app), "acme", duty.of("w"), ttl=1)),
    ):
        await duty.done_by()
        for _ in range(3):
            await sql(
                other,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            await anyio.sleep(0.5)
        await duty.done_by()
        (leader,) = await leaders(other)
        assert leader.worker == "w"


@pytest.mark.parametrize("name", ["", "x" * 201, "a\0b", None, 7])
async def test_a_name_that_makes_no_sense_is_refused(chancy_app: Chancy, name: Any):
    with pytest.raises(InvalidValue, match="the name of a leadership"):
        led(Host("w", chancy_app), name, Duty().of("w"))


@pytest.mark.parametrize("ttl", [0, 0.9, 3601, "15", None, True, float("nan")])
async def test_a_ttl_that_makes_no_sense_is_refused(chancy_app: Chancy, ttl: Any):
    with pytest.raises(InvalidValue, match=r"a leader's ttl must be 1 to 3,600 seconds"):
        led(Host("w", chancy_app), "acme", Duty().of("w"), ttl=ttl)


async def test_what_a_leader_of_old_writes_is_not_written(chancy_app: Chancy, chancy_clock):
    database, names = chancy_app.database, chancy_app.names
    await sql(chancy_app, "CREATE TABLE {marks} (term bigint)")
    old, new = uuid4(), uuid4()
    first = await database.run(statements.campaign(names, "acme", old, "old", 15))
    term = Term("acme", first, old)
    mark = Statement.written("INSERT INTO {marks} VALUES (1)", names, {}, lambda _: None)
    await database.run(term.fence(names), mark)
    chancy_clock.advance(hours=1)  # it is frozen, meanwhile
    assert await database.run(statements.campaign(names, "acme", new, "new", 15)) == 2
    with pytest.raises(TermOver, match="term 1 of the leadership 'acme' is over"):
        await database.run(term.fence(names), mark)
    assert not await database.run(statements.renew(names, term, 15))
    assert not await database.run(statements.release(names, "acme", old))
    assert await sql(chancy_app, "SELECT term FROM {marks}") == [(1,)]
    assert [leader.worker for leader in await leaders(chancy_app)] == ["new"]


async def test_a_fence_keeps_the_next_leader_waiting_and_no_renewal(
    chancy_app: Chancy, chancy_dsn: str, chancy_clock
):
    database, names = chancy_app.database, chancy_app.names
    holder = uuid4()
    first = await database.run(statements.campaign(names, "acme", holder, "old", 15))
    term = Term("acme", first, holder)
    order: list[str] = []

    async def take() -> None:
        await database.run(statements.campaign(names, "acme", uuid4(), "new", 15))
        order.append("taken")

    async with (
        Chancy(chancy_dsn) as other,
        anyio.create_task_group() as tasks,
        other.store.connection() as conn,
        conn.transaction(),
    ):
        fence = term.fence(names)
        await conn.execute(fence.text, fence.params)
        assert await database.run(statements.renew(names, term, 15))
        chancy_clock.advance(hours=1)
        tasks.start_soon(take)
        await anyio.sleep(0.5)
        order.append("committed")
    assert order == ["committed", "taken"]


@pytest.mark.parametrize("before", [False, True])
async def test_of_two_that_begin_at_once_one_leads(
    chancy_app: Chancy, chancy_dsn: str, chancy_clock, before: bool
):
    """The one waits for the other's transaction, and sees then that it leads."""
    database, names = chancy_app.database, chancy_app.names
    if before:  # by somebody whose lease is over
        await database.run(statements.campaign(names, "acme", uuid4(), "old", 15))
        chancy_clock.advance(hours=1)
    answers: list[int] = []

    async def second() -> None:
        answers.append(await database.run(statements.campaign(names, "acme", uuid4(), "b", 15)))

    first = statements.campaign(names, "acme", uuid4(), "a", 15)
    async with (
        Chancy(chancy_dsn) as other,
        anyio.create_task_group() as tasks,
        other.store.connection() as conn,
        conn.transaction(),
    ):
        await conn.execute(first.text, first.params)
        tasks.start_soon(second)
        await anyio.sleep(0.5)
        assert answers == []
    assert answers == [0]
    assert [leader.worker for leader in await leaders(chancy_app)] == ["a"]


async def test_who_is_stopped_within_a_fence_keeps_nobody_from_leading(
    chancy_app: Chancy, chancy_dsn: str, chancy_clock, monkeypatch
):
    """Its connection is open still, and its transaction would be for as long as it is stopped."""
    monkeypatch.setattr(terms, "STANDSTILL", "300ms")
    database, names, holder = chancy_app.database, chancy_app.names, uuid4()
    await sql(chancy_app, "CREATE TABLE {marks} (term bigint)")
    first = await database.run(statements.campaign(names, "acme", holder, "old", 15))
    fence = Term("acme", first, holder).fence(names)
    with psycopg.connect(chancy_dsn) as stopped:
        stopped.execute(fence.text, fence.params)
        stopped.execute("INSERT INTO chancy_marks VALUES (1)")
        chancy_clock.advance(hours=1)
        with anyio.fail_after(10):
            assert await database.run(statements.campaign(names, "acme", uuid4(), "b", 15)) == 2
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            stopped.execute("INSERT INTO chancy_marks VALUES (1)")
    assert await sql(chancy_app, "SELECT * FROM {marks}") == []


async def test_a_fence_leaves_its_connection_as_it_was(chancy_app: Chancy, chancy_dsn: str):
    names, holder = chancy_app.names, uuid4()
    first = await chancy_app.database.run(statements.campaign(names, "acme", holder, "w", 15))
    fence = Term("acme", first, holder).fence(names)
    setting = "SELECT current_setting('idle_in_transaction_session_timeout')"
    with psycopg.connect(chancy_dsn, autocommit=True) as conn:
        with conn.transaction():
            conn.execute(fence.text, fence.params)
            assert conn.execute(setting).fetchone() == ("5s",)
        assert conn.execute(setting).fetchone() == ("0",)
