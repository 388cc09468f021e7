"""What the driver costs: ours on asyncio and trio beside psycopg's own, in turns in one run.

    CHANCY_DSN=... python -m tests.benchmarks.driver

Each figure is the median over the rounds; the ratio is to psycopg's AsyncConnection on asyncio.
"""

import asyncio  # noqa: TID251 - the driver that we compare with knows nothing else
import os
import statistics
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import anyio
import psycopg

from chancy_core.postgres import Connection, Pool

ROUNDS = int(os.environ.get("ROUNDS", "7"))
DSN = os.environ["CHANCY_DSN"]
Measure = Callable[[psycopg.AsyncConnection[Any]], Awaitable[float]]


async def select(conn: psycopg.AsyncConnection[Any], times: int = 1500) -> float:
    began = perf_counter()
    for _ in range(times):
        await (await conn.execute("SELECT 1")).fetchone()
    return times / (perf_counter() - began)


async def transaction(conn: psycopg.AsyncConnection[Any], times: int = 500) -> float:
    began = perf_counter()
    for _ in range(times):
        async with conn.transaction():
            await conn.execute("SELECT 1")
    return times / (perf_counter() - began)


async def many(conn: psycopg.AsyncConnection[Any], rows: int = 10_000) -> float:
    await conn.execute("CREATE TEMP TABLE IF NOT EXISTS many (a int, b text)")
    began = perf_counter()
    await conn.cursor().executemany(
        "INSERT INTO many VALUES (%s, %s)", [(i, "x" * 20) for i in range(rows)]
    )
    return rows / (perf_counter() - began)


async def copy_in(conn: psycopg.AsyncConnection[Any], rows: int = 100_000) -> float:
    await conn.execute("CREATE TEMP TABLE IF NOT EXISTS copied (a int, b text)")
    await conn.execute("TRUNCATE copied")
    began = perf_counter()
    async with conn.cursor().copy("COPY copied FROM STDIN") as copy:
        for i in range(rows):
            await copy.write_row((i, "x" * 20))
    return rows / (perf_counter() - began)


async def copy_out(conn: psycopg.AsyncConnection[Any], rows: int = 50_000) -> float:
    began = perf_counter()
    query = f"COPY (SELECT g, repeat('x', 20) FROM generate_series(1, {rows}) g) TO STDOUT"
    async with conn.cursor().copy(query) as copy:
        async for _ in copy:
            pass
    return rows / (perf_counter() - began)


async def lend(times: int = 3000) -> float:
    async with Pool(DSN) as pool:
        await pool.ready()
        began = perf_counter()
        for _ in range(times):
            async with pool.connection():
                pass
        return times / (perf_counter() - began)


MEASURES: dict[str, Measure] = {
    "select 1, a second": select,
    "transactions, a second": transaction,
    "executemany, rows a second": many,
    "COPY in, rows a second": copy_in,
    "COPY out, rows a second": copy_out,
}


async def stock(measure: Measure) -> float:
    async with await psycopg.AsyncConnection.connect(DSN, autocommit=True) as conn:
        return await measure(conn)


async def ours(measure: Measure) -> float:
    async with await Connection.connect(DSN, autocommit=True) as conn:
        return await measure(conn)


def main() -> None:
    print(f"Python {sys.version.split()[0]}, psycopg {psycopg.__version__}, {ROUNDS} rounds")
    print(f"{'':30}{'psycopg':>12}{'asyncio':>12}{'ratio':>8}{'trio':>12}{'ratio':>8}")
    for name, measure in MEASURES.items():
        rounds: list[tuple[float, float, float]] = [
            (
                asyncio.run(stock(measure)),
                anyio.run(ours, measure, backend="asyncio"),
                anyio.run(ours, measure, backend="trio"),
            )
            for _ in range(ROUNDS)
        ]
        base, one, two = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name:30}{base:12,.0f}{one:12,.0f}{one / base:8.2f}{two:12,.0f}{two / base:8.2f}")
    one, two = anyio.run(lend, backend="asyncio"), anyio.run(lend, backend="trio")
    print(f"{'lend and give back, a second':30}{'':12}{one:12,.0f}{'':8}{two:12,.0f}")


if __name__ == "__main__":
    main()
