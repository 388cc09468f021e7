"""Each cell of the benchmark can be measured: small, on our own sides, for all of its figures."""

import re
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from tests.benchmarks.catalogue import CELLS, EXECUTORS, TRIO
from tests.benchmarks.cells import SCALE, Cell
from tests.benchmarks.rounds import measure
from tests.benchmarks.server import durable_server
from tests.benchmarks.sides import processor
from tests.benchmarks.stages import STATEMENTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: How many jobs are enough, where a thousandth of the full size is not.
JOBS = 60
#: The executors that every machine has.
EVERYWHERE = {"async", "thread", "process", "subprocess"}


@pytest.fixture(scope="module")
def durable() -> Iterator[str]:
    with durable_server() as server:
        yield server


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_a_cell_can_be_measured(cell: Cell, durable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCALE, "0.001")
    if cell.name.startswith("remote"):
        pytest.importorskip("distributed", reason="it comes with chancy[dask]")
    if cell.name == "idle" and not counts_statements(durable):
        pytest.skip("the server of CHANCY_DSN does not load pg_stat_statements")
    sides = [side for side in cell.sides if side.name != TRIO][:2]
    size = JOBS if cell.unit == "jobs" else 2
    found = measure(cell, sides, durable, 1, size)
    shown = {column.figure for column in cell.columns}
    if processor.postmaster(durable) is None:
        shown.discard("server_us")
    for side in sides:
        (answer,) = found.answers[side.name]
        assert shown <= set(answer)
        assert answer[cell.main.figure] >= 0


def test_what_a_job_costs_on_each_executor_is_measured_where_there_is_one(durable: str) -> None:
    (cell,) = (cell for cell in CELLS if cell.name == "executors")
    assert set(EXECUTORS) == {side.name for side in cell.sides}
    found = measure(cell, cell.sides, durable, 1, 1000)
    assert found.answers.keys() | found.failed.keys() == set(EXECUTORS)
    assert found.answers.keys() >= EVERYWHERE
    for name, (answer,) in found.answers.items():
        assert answer["jobs"] == round(1000 * EXECUTORS[name])
        assert answer["worker_us"] > 0
        assert ("server_us" in answer) is (processor.postmaster(durable) is not None)
    for name, why in found.failed.items():
        assert why, name


@pytest.mark.parametrize("loop", [(), ("--trio",)], ids=["asyncio", "trio"])
def test_what_a_job_costs_is_told_stage_by_stage(
    loop: tuple[str, ...], durable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not counts_statements(durable):
        pytest.skip("the server of CHANCY_DSN does not load pg_stat_statements")
    monkeypatch.setenv("CHANCY_DSN", durable)
    told = (sys.executable, "-m", "tests.benchmarks.stages", "--jobs", "400", "--rounds", "1")
    done = subprocess.run([*told, *loop], check=True, capture_output=True, text=True)
    stages = dict(re.findall(r"^\| (.+?) \| ([0-9.]+) \|", done.stdout, re.MULTILINE))
    assert {*STATEMENTS.values(), "push: `bind`", "claim: read", "settle: parameters"} <= {*stages}
    assert min(map(float, stages.values())) > 0


def counts_statements(server: str) -> bool:
    with psycopg.connect(server) as conn:
        (loaded,) = conn.execute("SHOW shared_preload_libraries").fetchone() or ("",)
    return "pg_stat_statements" in loaded
