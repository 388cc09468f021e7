import anyio
from chancy import Chancy, Worker, job
from chancy_core.statement import Statement
from chancy_core.testing import Clock, drain

from chancy_acme.ledger import tenant


@job
def sell(things: int) -> None:
    assert things > 0


async def entries(chancy: Chancy) -> list[str]:
    ask = "SELECT tenant FROM {acme_ledger} ORDER BY tenant"
    asked = Statement.written(ask, chancy.names, {}, lambda rows: [row[0] for row in rows])
    tenants: list[str] = await chancy.database.run(asked)
    return tenants


async def push(chancy: Chancy, name: str, things: int) -> None:
    before = tenant.set(name)
    await chancy.push(sell.bind(things=things))
    tenant.reset(before)


async def test_what_has_succeeded_is_written_down(chancy_app: Chancy) -> None:
    await push(chancy_app, "ada", 3)
    await push(chancy_app, "bob", 0)
    await chancy_app.push(sell.bind(things=1))
    await drain(chancy_app)
    assert await entries(chancy_app) == ["ada", "nobody"]


async def test_it_is_forgotten_after_a_year(chancy_app: Chancy, chancy_clock: Clock) -> None:
    await push(chancy_app, "ada", 3)
    await drain(chancy_app)
    chancy_clock.advance(days=400)
    async with Worker(chancy_app):
        with anyio.fail_after(20):
            while await entries(chancy_app):
                await anyio.sleep(0.01)


async def test_the_table_goes_and_comes_back(chancy_app: Chancy) -> None:
    await push(chancy_app, "ada", 3)
    await drain(chancy_app)
    await chancy_app.migrate(to={"acme": 0})
    assert not await chancy_app.is_up_to_date()
    await chancy_app.migrate()
    assert await chancy_app.is_up_to_date()
    assert await entries(chancy_app) == []
