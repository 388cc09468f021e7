"""Jobs that wait come earlier: each step is made once, whoever looks, and whoever dies at it."""

import logging
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from attrs import evolve

from chancy import Chancy, Job, Queue, Worker, job
from chancy_core.errors import InvalidPlugin
from chancy_core.statement import Statement
from chancy_core.testing import Clock
from chancy_plugins import trouble
from chancy_plugins.reprioritize import Ageing, Reprioritize, plugin
from chancy_plugins.reprioritize.plugin import Walk

pytestmark = pytest.mark.anyio

RULE = Ageing(after=60, every=30, by=2, most=10, batch=7)


@job(name="ageing.job", queue="q")
async def something() -> None:
    pass


@pytest.fixture(autouse=True)
def frozen(chancy_clock: Clock) -> None:
    chancy_clock.freeze(datetime(2999, 1, 1, tzinfo=UTC))


async def sql(chancy: Chancy, text: str, **params: Any) -> list[Any]:
    return await chancy.database.run(Statement.written(text, chancy.names, params, list))


async def priorities(chancy: Chancy) -> list[int]:
    """Those of all jobs, the oldest first."""
    return [row[0] for row in await sql(chancy, "SELECT priority FROM {jobs_v1} ORDER BY id")]


async def apply(chancy: Chancy, *rules: Ageing) -> int:
    return sum((await Reprioritize(*rules).apply(chancy)).values())


async def test_a_job_gains_a_step_after_a_while_and_then_each_while(
    chancy_app: Chancy, chancy_clock
):
    await chancy_app.push(Job("f", queue="q", priority=1))
    seen = []
    for seconds in (59, 1, 29, 1, 0, 60, 30, 500):
        chancy_clock.advance(seconds=seconds)
        await apply(chancy_app, RULE)
        seen += await priorities(chancy_app)
    assert seen == [1, 3, 3, 5, 5, 9, 10, 10]


async def test_steps_that_nobody_made_in_time_are_made_up_for(chancy_app: Chancy, chancy_clock):
    await chancy_app.push(Job("f", queue="q"))
    chancy_clock.advance(seconds=60 + 30 * 3)
    assert await apply(chancy_app, RULE) == 1
    assert await priorities(chancy_app) == [8]
    assert await apply(chancy_app, RULE) == 0


async def test_only_those_that_are_meant(chancy_app: Chancy, chancy_clock):
    await chancy_app.push_many(
        [Job("f", queue="a"), Job("g", queue="a"), Job("f", queue="b"), Job("h", queue="b")]
    )
    chancy_clock.advance(seconds=60)
    await apply(chancy_app, evolve(RULE, queue=["a", "c"]))
    assert await priorities(chancy_app) == [2, 2, 0, 0]
    await apply(chancy_app, evolve(RULE, func="f"))
    assert await priorities(chancy_app) == [4, 2, 2, 0]
    await apply(chancy_app, evolve(RULE, queue="b", func=["h", something]))
    assert await priorities(chancy_app) == [4, 2, 2, 2]


async def test_several_rules_each_for_itself(chancy_app: Chancy, chancy_clock):
    await chancy_app.push_many([Job("f", queue="a"), Job("f", queue="b")])
    both = Reprioritize(evolve(RULE, queue="a"), evolve(RULE, queue="b", by=5, every=10))
    chancy_clock.advance(seconds=60)
    assert await both.apply(chancy_app) == {
        '{"queue": ["a"], "func": null}': 1,
        '{"queue": ["b"], "func": null}': 1,
    }
    chancy_clock.advance(seconds=10)
    await both.apply(chancy_app)
    assert await priorities(chancy_app) == [2, 10]


async def test_what_is_due_later_waits_from_then_on(chancy_app: Chancy, chancy_clock):
    later = chancy_clock.now() + timedelta(hours=1)
    await chancy_app.push(Job("f", queue="q", scheduled_at=later))
    chancy_clock.advance(hours=1)
    await sql(chancy_app, "UPDATE {jobs} SET state = 'pending' RETURNING id")
    await apply(chancy_app, RULE)
    assert await priorities(chancy_app) == [0]
    chancy_clock.advance(seconds=60)
    await apply(chancy_app, RULE)
    assert await priorities(chancy_app) == [2]


async def test_what_runs_or_has_ended_is_left_alone(chancy_app: Chancy, chancy_clock):
    running, ended, waiting = await chancy_app.push_many([Job("f", queue="q") for _ in range(3)])
    await chancy_app.cancel_job(ended)
    await sql(
        chancy_app,
        "UPDATE {jobs} SET state = 'running', worker = gen_random_uuid(), "
        "lease_id = gen_random_uuid() WHERE id = %(id)s RETURNING id",
        id=running.id,
    )
    chancy_clock.advance(seconds=60)
    assert await apply(chancy_app, RULE) == 1
    assert await priorities(chancy_app) == [0, 0, 2]
    assert (await chancy_app.get_job(waiting)).priority == 2


async def test_what_was_changed_by_hand_is_raised_from_there(chancy_app: Chancy, chancy_clock):
    (one, high) = await chancy_app.push_many([Job("f", queue="q"), Job("f", priority=50)])
    chancy_clock.advance(seconds=60)
    await apply(chancy_app, RULE)
    await chancy_app.reprioritize_jobs([one], -5)
    chancy_clock.advance(seconds=30)
    await apply(chancy_app, RULE)
    assert await priorities(chancy_app) == [-3, 50]
    assert (await chancy_app.get_job(high)).priority == 50


async def test_what_somebody_has_locked_holds_nobody_up(
    chancy_app: Chancy, chancy_dsn: str, chancy_clock
):
    locked, _ = await chancy_app.push_many([Job("f", queue="q") for _ in range(2)])
    chancy_clock.advance(seconds=60)
    async with Chancy(chancy_dsn) as other, other.store.connection() as conn, conn.transaction():
        await conn.execute("SELECT FROM chancy_jobs WHERE id = %s FOR UPDATE", [locked.id])
        with anyio.fail_after(5):
            assert await apply(chancy_app, RULE) == 1
    assert await priorities(chancy_app) == [0, 2]


async def test_a_rule_that_changes_goes_on_from_there(chancy_app: Chancy, chancy_clock):
    """Steps that were made are not made again, by another number."""
    await chancy_app.push(Job("f", queue="q"))
    chancy_clock.advance(seconds=60)
    await apply(chancy_app, RULE)
    chancy_clock.advance(seconds=30)
    await apply(chancy_app, evolve(RULE, by=5))
    assert await priorities(chancy_app) == [7]


async def test_more_than_a_batch(chancy_app: Chancy, chancy_clock):
    await chancy_app.push_many([Job("f", queue="q") for _ in range(35)])
    chancy_clock.advance(seconds=60)
    assert await apply(chancy_app, RULE) == 35
    assert await priorities(chancy_app) == [2] * 35
    young = await chancy_app.push(Job("f", queue="q"))
    chancy_clock.advance(seconds=30)
    assert await apply(chancy_app, RULE) == 35
    assert (await chancy_app.get_job(young)).priority == 0


class Died(Exception):
    """A worker is gone, with all that it had not committed."""


class Mortal:
    """An application whose process dies once it has been answered so many statements."""

    def __init__(self, app: Chancy, lives: int) -> None:
        self._app, self._lives = app, lives

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    @property
    def database(self) -> "Mortal":
        return self

    async def run(self, *statements: Statement[Any]) -> Any:
        return await self._app.database.run(*(self._watched(each) for each in statements))

    def _watched(self, statement: Statement[Any]) -> Statement[Any]:
        def read(rows: Any) -> Any:
            answer = statement.read(rows)
            self._lives -= 1
            if self._lives < 0:
                raise Died
            return answer

        return evolve(statement, read=read)


@pytest.mark.parametrize("seed", range(5))
async def test_each_step_is_made_once_however_many_look_and_die(
    chancy_app: Chancy, chancy_clock: Clock, seed: int
):
    chance = random.Random(seed)
    rule = evolve(RULE, most=1000)
    born: list[float] = []
    now, dead = 0.0, 0

    async def walk(lives: int) -> None:
        nonlocal dead
        try:
            await Walk(Mortal(chancy_app, lives), rule, pause=0.0).go()  # type: ignore[arg-type]
        except Died:
            dead += 1

    for _ in range(12):
        count = chance.randrange(15)
        await chancy_app.push_many([Job("f", queue="q") for _ in range(count)])
        born += [now] * count
        step = chance.choice([0, 1, 17, 30, 45, 61, 200])
        now += step
        chancy_clock.advance(seconds=step)
        async with anyio.create_task_group() as walkers:
            for _ in range(4):
                walkers.start_soon(walk, chance.randrange(12))
    await apply(chancy_app, rule)
    now += 30  # an unfinished walk, which was ended now, had begun earlier
    chancy_clock.advance(seconds=30)
    await apply(chancy_app, rule)
    steps = [max(0, (now - 60 - since) // 30 + 1) for since in born]
    assert dead > 3
    assert await priorities(chancy_app) == [2 * n for n in steps]


async def test_a_worker_applies_what_its_application_was_given(
    chancy_app: Chancy, chancy_dsn: str, chancy_clock: Clock, monkeypatch
):
    monkeypatch.setattr(plugin, "PAUSE", (0.1, 0.2))
    await chancy_app.declare(Queue("other", executor="async"))
    await chancy_app.push(Job("f", queue="q"))
    chancy_clock.unfreeze()
    chancy_clock.advance(seconds=61)
    async with (
        Chancy(chancy_dsn, plugins=[Reprioritize(queue="q", after=60, by=3)]) as chancy,
        Worker(chancy, queues=["other"], signals=False),
    ):
        with anyio.fail_after(15):
            while await priorities(chancy) != [3]:
                await anyio.sleep(0.02)
        await anyio.sleep(0.5)
        assert await priorities(chancy) == [3]


async def test_it_does_nothing_for_whom_it_was_not_given_to(chancy_app: Chancy):
    assert "reprioritize" not in {one.name for one in chancy_app.plugins.plugins}


async def test_without_its_table_it_says_so_and_goes_on_once_it_is_there(
    chancy_app: Chancy, chancy_clock, monkeypatch, caplog
):
    monkeypatch.setattr(plugin, "PAUSE", (0.05, 0.1))
    monkeypatch.setattr(trouble, "LASTING", 0.1)
    caplog.set_level(logging.INFO, "chancy.reprioritize")
    await chancy_app.push(Job("f", queue="q"))
    chancy_clock.advance(seconds=60)
    await chancy_app.migrate(to={"reprioritize": 0})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Walk(chancy_app, RULE).run)
        with anyio.fail_after(10):
            while "run `chancy migrate`" not in caplog.text:
                await anyio.sleep(0.02)
        await anyio.sleep(0.5)
        said = [one for one in caplog.records if "chancy migrate" in one.getMessage()]
        assert [(one.levelname, one.name) for one in said] == [("ERROR", "chancy.reprioritize")]
        await chancy_app.migrate()
        with anyio.fail_after(10):
            while await priorities(chancy_app) != [2]:
                await anyio.sleep(0.02)
        tasks.cancel_scope.cancel()
    assert "changing the priorities of what waits works again" in caplog.text


@pytest.mark.parametrize("nonsense", ["-1", "'x'", "true"])
async def test_a_defect_is_the_plugins_and_is_raised(chancy_app: Chancy, monkeypatch, nonsense):
    def broken(*_: object) -> None:
        raise RuntimeError(nonsense)

    monkeypatch.setattr(plugin.statements, "look", broken)
    with pytest.raises(RuntimeError, match=nonsense):
        await Walk(chancy_app, RULE).run()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"after": -1}, "after must be 0 to 31,622,400"),
        ({"every": 0}, "every must be 1 to 31,622,400"),
        ({"by": 0}, "by must be 1 to 65,535"),
        ({"by": 1.5}, "by must be a whole number"),
        ({"most": 40_000}, "most must be -32,768 to 32,767"),
        ({"batch": 0}, "batch must be 1 to 10,000"),
        ({"queue": 7}, "queue must be a name or several"),
        ({"queue": ["a", None]}, "queue must be a name or several"),
        ({"func": []}, "func names none"),
        ({"func": "a\0"}, "PostgreSQL stores no NUL"),
        ({"after": True}, "after must be"),
        ({"que": "a"}, "unexpected keyword argument 'que'"),
    ],
)
async def test_nonsense_is_refused(asked: dict[str, Any], said: str):
    with pytest.raises(InvalidPlugin, match=said):
        Reprioritize(**asked)


async def test_rules_about_the_same_jobs_are_refused():
    with pytest.raises(InvalidPlugin, match="two rules are about the same jobs"):
        Reprioritize(Ageing(queue=["a", "b"]), Ageing(queue=["b", "a"], by=3))
    with pytest.raises(InvalidPlugin, match="a rule is an Ageing"):
        Reprioritize("q")  # type: ignore[arg-type]


async def test_a_rule_of_many_names_has_a_key_too():
    many = Ageing(queue=[f"queue-{n}" for n in range(100)])
    assert many.key.startswith("blake2b ")
    assert many.key != Ageing(queue=[f"queue-{n}" for n in range(99)]).key


MANY = """
    INSERT INTO {jobs} (id, queue, func, args, meta, state, priority, max_attempts, scheduled_at)
    SELECT (lpad(to_hex(1780000000000 + n), 12, '0') || '70008' || substr(md5(n::text), 1, 15))
           ::uuid, 'q' || n %% 7, 'f', '{{}}', '{{}}', 'pending', 0, 1, {now}() - interval '1 hour'
      FROM generate_series(1, 30000) AS n
    RETURNING 1
"""


@pytest.mark.parametrize("statistics", ["none", "fresh"])
async def test_a_look_walks_along_the_ids_and_reads_no_history(chancy_app: Chancy, statistics: str):
    await sql(chancy_app, MANY, none=None)
    if statistics == "fresh":
        await sql(chancy_app, "ANALYZE {jobs}")
    look = plugin.statements.look(chancy_app.names, evolve(RULE, batch=1000), 0.0)
    for mode in ("custom", "generic"):
        explain = Statement(b"EXPLAIN (ANALYZE, BUFFERS) " + look.text, look.params, list)
        force = Statement(f"SET LOCAL plan_cache_mode = force_{mode}_plan".encode(), {}, list)
        _, rows = await chancy_app.database.run(force, explain)
        plan = "\n".join(row[0] for row in rows)
        assert "Index Scan using chancy_jobs_pkey" in plan
        assert "Bitmap" not in plan
        assert "Seq Scan" not in plan
        assert "history" not in plan
