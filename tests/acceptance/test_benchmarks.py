"""Each cell of the benchmark can be measured: small, on our own sides, for all of its figures."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.benchmarks.catalogue import CELLS, TRIO
from tests.benchmarks.cells import SCALE, Cell
from tests.benchmarks.rounds import measure
from tests.benchmarks.server import durable_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: How many jobs are enough, where a thousandth of the full size is not.
JOBS = 60


@pytest.fixture(scope="module")
def durable() -> Iterator[str]:
    with durable_server() as server:
        yield server


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_a_cell_can_be_measured(cell: Cell, durable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCALE, "0.001")
    if cell.name == "idle" and not counts_statements(durable):
        pytest.skip("the server of CHANCY_DSN does not load pg_stat_statements")
    sides = [side for side in cell.sides if side.name != TRIO][:2]
    size = JOBS if cell.unit == "jobs" else 2
    found = measure(cell, sides, durable, 1, size)
    for side in sides:
        (answer,) = found.answers[side.name]
        assert {column.figure for column in cell.columns} <= set(answer)
        assert answer[cell.main.figure] >= 0


def counts_statements(server: str) -> bool:
    with psycopg.connect(server) as conn:
        (loaded,) = conn.execute("SHOW shared_preload_libraries").fetchone() or ("",)
    return "pg_stat_statements" in loaded
