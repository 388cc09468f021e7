"""procrastinate: jobs deferred in one batch, run by one worker that runs twenty at once."""

import asyncio
import time

import side
from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=side.DSN))


@app.task(name="nothing", queue="q")
async def nothing(number: int) -> None:
    pass


async def push(jobs: int) -> float:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        begin = time.perf_counter()
        await nothing.batch_defer_async(*[{"number": n} for n in range(jobs)])
        seconds = time.perf_counter() - begin
    return side.rate(jobs, seconds, side.count("SELECT count(*) FROM procrastinate_jobs"))


async def drain(jobs: int) -> float:
    await push(jobs)
    side.analyze("procrastinate_jobs")
    async with app.open_async():
        begin = time.perf_counter()
        worker = asyncio.create_task(
            app.run_worker_async(queues=["q"], concurrency=20, install_signal_handlers=False)
        )
        end = await asyncio.to_thread(
            side.until_done, "SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        )
        worker.cancel()
        await asyncio.wait([worker])
    done = side.count("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'")
    return side.rate(jobs, end - begin, done)


if __name__ == "__main__":
    side.main(asyncio.run, {"push": push, "drain": drain})
