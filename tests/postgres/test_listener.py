"""A listener that comes back, and says when it may have missed something."""

from collections.abc import Callable

import anyio
import psycopg
import pytest

from chancy_core.errors import InvalidValue
from chancy_core.postgres import Listener, Reconnected
from chancy_core.postgres.keeping import Backoff

from .proxy import proxied

QUICK = Backoff(0.01, 0.05)


async def test_notifications_and_reconnection(
    driver_dsn: str, app: str, outside: psycopg.Connection, sessions: Callable[[], list[int]]
) -> None:
    async with Listener(driver_dsn, ["One", "two"], application_name=app, backoff=QUICK) as it:
        with anyio.fail_after(5):
            assert isinstance(await anext(it), Reconnected)
            assert it.connected
            outside.execute("""SELECT pg_notify('One', 'a'), pg_notify('two', 'b')""")
            assert [(await anext(it)).payload for _ in range(2)] == ["a", "b"]
            for pid in sessions():
                outside.execute("SELECT pg_terminate_backend(%s, 2000)", [pid])
            assert isinstance(await anext(it), Reconnected)
            outside.execute("NOTIFY two, 'c'")
            assert (await anext(it)).payload == "c"


async def test_a_dead_link_is_noticed(driver_dsn: str) -> None:
    async with (
        proxied(driver_dsn) as proxy,
        Listener(
            proxy.dsn,
            ["one"],
            ping_interval=0.1,
            ping_timeout=0.2,
            backoff=QUICK,
            connect_timeout=1,
        ) as it,
    ):
        with anyio.fail_after(8):
            await anext(it)
            proxy.freeze()
            async with anyio.create_task_group() as tasks:

                async def heal() -> None:
                    while it.last_error is None:
                        await anyio.sleep(0.01)
                    proxy.thaw()

                tasks.start_soon(heal)
                assert isinstance(await anext(it), Reconnected)


async def test_unlisten_behind_its_back_is_noticed(
    driver_dsn: str, outside: psycopg.Connection
) -> None:
    async with Listener(driver_dsn, ["one"], ping_interval=0.1) as it:
        with anyio.fail_after(5):
            await anext(it)
            await it._connection.execute("UNLISTEN *")
            assert isinstance(await anext(it), Reconnected)
            outside.execute("NOTIFY one, 'x'")
            assert (await anext(it)).payload == "x"


async def test_it_goes_on_trying(driver_dsn: str) -> None:
    async with Listener("host=127.0.0.1 port=1", ["one"], backoff=QUICK) as it:
        with anyio.move_on_after(0.3) as scope:
            await anext(it)
        assert scope.cancelled_caught
        assert it.last_error is not None
        assert not it.connected


async def test_cancelled_iterations_lose_nothing(
    driver_dsn: str, outside: psycopg.Connection
) -> None:
    async with Listener(driver_dsn, ["one"]) as it:
        await anext(it)
        seen = []
        for number in range(50):
            outside.execute("SELECT pg_notify('one', %s)", [str(number)])
            with anyio.move_on_after(0.0005 * (number % 3)):
                seen.append((await anext(it)).payload)
        with anyio.fail_after(3):
            while len(seen) < 50:
                seen.append((await anext(it)).payload)
        assert seen == [str(number) for number in range(50)]


def test_names_that_postgresql_would_cut(server: str) -> None:
    with pytest.raises(InvalidValue):
        Listener(server, ["x" * 64])
