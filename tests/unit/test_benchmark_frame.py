"""What the benchmark makes of its figures: ratios, what is owed, tables, the page, the plots."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil
import pytest

from tests.benchmarks import kept, page, plot, report
from tests.benchmarks.catalogue import CELLS, LIMIT, OURS, TRIO
from tests.benchmarks.cells import PEER_NAMES, PYTHON_PEERS, SCALE, Cell, Column, Owed, Side, scaled
from tests.benchmarks.figures import Figures
from tests.benchmarks.peers import PEERS
from tests.benchmarks.rounds import Failed, Missing, _once, measure
from tests.benchmarks.sides import processor
from tests.benchmarks.spans import longest_gap

PYTHON = [peer.name for peer in PEERS if peer.language == "Python"]
NODE = [peer.name for peer in PEERS if peer.language == "Node"]
LATENCY = Column("p99_ms", "p99, ms", 1)
ABOUT = {
    "date": "2026-01-02",
    "system": "Linux x86_64, 2 cores",
    "python": "3.11.2",
    "postgresql": "18.1",
    "versions": {"chancy": "1.0"},
    "settings": {"fsync": "on"},
}


def figures(**rates: list[float]) -> Figures:
    """The figures of a cell with these sides, written with `_` for what a name has not."""
    cell = Cell("drain", "jobs are drained", 100, (), reference="limit", peers=True)
    return Figures(cell, 100, {name: [{"rate": r} for r in rates[name]] for name in rates})


def test_a_ratio_is_the_median_of_those_of_each_round() -> None:
    found = figures(ours=[10, 90, 60], limit=[10, 100, 200])
    assert found.ratio("ours", "limit") == 0.9  # that of the medians would be 0.6
    assert found.median("ours") == 60


def test_the_best_peer_is_one_in_python_however_fast_the_others_are() -> None:
    slow, quick, *_ = PYTHON
    rates = {slow: [10.0], quick: [20.0], NODE[0]: [99.0], "ours": [50.0]}
    found = Figures(
        Cell("drain", "", 1, (), (Owed("ours", 2, PYTHON_PEERS),), peers=True),
        1,
        {name: [{"rate": r} for r in each] for name, each in rates.items()},
    )
    assert found.best_peer() == quick
    assert [(of, value) for _, of, value in found.kept()] == [(quick, 2.5)]
    assert found.broken() == []


@pytest.mark.parametrize(
    ("owed", "value", "met"),
    [
        (Owed("a", 0.6, "b"), 0.6, True),
        (Owed("a", 0.6, "b"), 0.59, False),
        (Owed("a", figure="p99_ms", most=25), 25, True),
        (Owed("a", figure="p99_ms", most=25), 25.1, False),
    ],
)
def test_what_is_owed_is_at_least_or_at_most(owed: Owed, value: float, met: bool) -> None:
    assert owed.met(value) is met


def test_what_is_owed_and_not_there_is_broken_and_what_was_not_measured_is_neither() -> None:
    cell = Cell(
        "latency",
        "",
        1,
        (),
        (
            Owed("a", figure="p99_ms", most=5),
            Owed("a", figure="p99_ms", most=2, of="b"),
            Owed("a", 1.0, "absent"),
            Owed("absent", 1.0),
        ),
        columns=(LATENCY,),
    )
    found = Figures(cell, 1, {"a": [{"p99_ms": 9.0}], "b": [{"p99_ms": 6.0}]})
    assert [value for _, _, value in found.kept()] == [9.0, 1.5]
    assert found.broken() == [cell.owed[0]]


def test_a_table_has_each_figure_of_each_side_and_says_what_is_kept() -> None:
    cell = Cell(
        "drain",
        "jobs are drained",
        1,
        (),
        (Owed("ours", 0.5, "limit"), Owed("ours", figure="p99_ms", most=3)),
        columns=(Column("rate", "jobs/s"), LATENCY),
        reference="limit",
    )
    found = Figures(
        cell,
        1,
        {
            "ours": [{"rate": 900.0, "p99_ms": 4.0}, {"rate": 1100.0, "p99_ms": 5.0}],
            "limit": [{"rate": 2000.0}, {"rate": 2000.0}],
        },
        {"awa": "Traceback\nno such module"},
    )
    assert report.table(found).splitlines() == [
        "**drain**: jobs are drained.",
        "",
        "| side | jobs/s, median | lowest to highest | beside limit | p99, ms |",
        "| --- | --- | --- | --- | --- |",
        "| ours | 1,000 | 900 to 1,100 | 0.50 | 4.5 |",
        "| limit | 2,000 | 2,000 to 2,000 | 1.00 |  |",
        "",
        "* ours owes at least 0.5 of limit: 0.50, kept",
        "* ours owes in p99_ms at most 3: 4.50, NOT kept",
        "* awa could not: no such module",
    ]


def test_sizes_are_scaled_and_never_vanish(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scaled(500) == 500
    monkeypatch.setenv(SCALE, "0.01")
    assert [scaled(500), scaled(3), scaled(3, 2)] == [5, 1, 2]


# The catalogue.


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_what_a_cell_owes_is_measured_in_it(cell: Cell) -> None:
    sides = {side.name for side in cell.sides}
    shown = {column.figure for column in cell.columns}
    assert len(sides) == len(cell.sides)
    assert not sides & set(PEER_NAMES)
    assert cell.reference in {*sides, ""}
    assert {owed.side for owed in cell.owed} <= sides
    assert {owed.of for owed in cell.owed} <= {*sides, PYTHON_PEERS, None}
    assert {owed.figure for owed in cell.owed} <= shown
    assert all((owed.least is None) != (owed.most is None) for owed in cell.owed)


def test_the_cells_have_names_of_their_own_and_each_side_a_module() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS)
    modules = {side.command[2] for cell in CELLS for side in cell.sides}
    assert all(importlib.util.find_spec(module) for module in modules)


def test_both_loops_are_measured_where_the_loop_matters() -> None:
    loops = [{OURS, TRIO} <= {side.name for side in cell.sides} for cell in CELLS]
    assert sum(loops) > len(CELLS) / 2


# What is measured in turns.


def test_a_peer_that_fails_is_left_out_and_one_of_ours_ends_the_cell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def once(cell: Cell, side: Side, *_: object) -> dict[str, float]:
        asked.append(side.name)
        if side.command == ["fails"]:
            raise Failed("it could not")
        return {"rate": 1.0}

    monkeypatch.setattr("tests.benchmarks.rounds._once", once)
    cell = Cell("drain", "", 1, ())
    sides = [Side("ours", []), Side(PYTHON[0], ["fails"]), Side(LIMIT, [])]
    found = measure(cell, sides, "no server", 3, 10)
    assert asked == ["ours", PYTHON[0], LIMIT, LIMIT, "ours", LIMIT, "ours"]
    assert found.failed == {PYTHON[0]: "it could not"}
    assert found.rounds == 3
    with pytest.raises(Failed):
        measure(cell, [Side("ours", ["fails"])], "no server", 3, 10)


def answering(name: str, text: str) -> Side:
    return Side(name, [sys.executable, "-c", f"print({text!r})"])


def test_a_side_of_ours_that_lacks_something_here_says_what() -> None:
    cell = Cell("executors", "", 1, ())
    lacks = answering("interpreter", '{"missing": "it needs Python 3.13"}')
    with pytest.raises(Missing, match=r"^it needs Python 3\.13$"):
        _once(cell, lacks, "no server", 1, "a DSN")
    assert _once(cell, answering("async", '{"rate": 2}'), "no server", 1, "a DSN") == {"rate": 2.0}


def test_such_a_side_is_left_out_and_the_table_has_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def once(cell: Cell, side: Side, *_: object) -> dict[str, float]:
        if side.name == "interpreter":
            raise Missing("it needs Python 3.13")
        return {"rate": 1.0}

    monkeypatch.setattr("tests.benchmarks.rounds._once", once)
    cell = Cell("executors", "", 1, (), reference="async")
    found = measure(cell, [Side("async", []), Side("interpreter", [])], "no server", 3, 10)
    assert found.answers == {"async": [{"rate": 1.0}] * 3}
    assert report.table(found).splitlines()[-1] == "* interpreter could not: it needs Python 3.13"


def test_what_a_process_has_used_is_what_its_children_have_used_too() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    wait = "print('burnt', flush=True); input()"
    before = processor.of_this()
    subprocess.run([sys.executable, "-c", burn], check=True)
    command = [sys.executable, "-c", burn + wait]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        meanwhile = processor.of_this() - before  # one has ended, one has not
        assert processor.of_tree(psutil.Process(child.pid)) >= 0.28  # in ticks of 10 ms
        child.communicate(b"\n")
    assert meanwhile >= 0.56
    assert meanwhile <= processor.of_this() - before < meanwhile + 0.25  # and no one twice


@pytest.mark.parametrize(
    ("spans", "gap"),
    [
        ([], 10.0),
        ([(0, 10)], 0.0),
        ([(1, 4), (2, 3), (6, 9)], 2.0),
        ([(3, 12)], 3.0),
        ([(0, 4), (12, 13)], 6.0),
    ],
)
def test_the_longest_gap_is_what_no_job_covers(
    spans: list[tuple[float, float]], gap: float
) -> None:
    assert longest_gap(spans, 0, 10) == gap


# What is kept, and the page.


def kept_cell(name: str, rate: float) -> Figures:
    (cell,) = (cell for cell in CELLS if cell.name == name)
    return Figures(cell, 10, {OURS: [{"rate": rate}], LIMIT: [{"rate": 100.0}]})


def test_a_later_run_replaces_only_what_it_measured(tmp_path: Path) -> None:
    raw = tmp_path / "figures.json"
    kept.keep(raw, ABOUT, kept_cell("drain", 50.0))
    kept.keep(raw, ABOUT, kept_cell("push", 70.0))
    kept.keep(raw, ABOUT | {"date": "2026-02-02"}, kept_cell("drain", 60.0))
    found = kept.load(raw)
    assert [each.figures.cell.name for each in found] == ["push", "drain"]
    assert [each.figures.median(OURS) for each in found] == [70.0, 60.0]
    assert [each.about["date"] for each in found] == ["2026-01-02", "2026-02-02"]


def test_a_ratio_has_fallen_when_a_third_of_it_is_gone() -> None:
    before = [kept.Kept(ABOUT, kept_cell("drain", 60.0))]
    assert list(kept.fallen(before, kept_cell("drain", 41.0))) == []
    (said,) = kept.fallen(before, kept_cell("drain", 39.0))
    assert said == f"drain, {OURS}: 0.39 of limit, once 0.60"
    assert list(kept.fallen([], kept_cell("drain", 1.0))) == []
    assert list(kept.fallen(before, kept_cell("push", 1.0))) == []


def test_the_page_keeps_what_stands_around_the_markers(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text(f"Before.\n\n{page.BEGIN}\nold\n{page.END}\n\nAfter.\n")
    found = [kept.Kept(ABOUT, kept_cell("drain", 50.0))]
    page.write(path, found)
    once = path.read_text()
    page.write(path, found)
    assert path.read_text() == once
    assert once.startswith(f"Before.\n\n{page.BEGIN}\n\n**drain**")
    assert once.endswith(f"{page.END}\n\nAfter.\n")
    assert "old" not in once
    assert "![Drain by one worker process, jobs a second](performance/drain.svg)" in once
    assert (
        "10 jobs, once; 2026-01-02, Linux x86_64, 2 cores, Python 3.11.2, PostgreSQL 18.1" in once
    )
    assert "`fsync = on`" in once
    assert (tmp_path / "performance/drain.svg").read_text().startswith("<svg")


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text("By hand.\n")
    with pytest.raises(ValueError, match="has no markers"):
        page.write(path, [])
    assert path.read_text() == "By hand.\n"


def test_the_page_about_performance_has_its_markers_and_names_every_cell() -> None:
    text = (Path(__file__).parents[2] / "docs/performance.md").read_text()
    assert text.count(page.BEGIN) == text.count(page.END) == 1
    assert [cell.name for cell in CELLS if f"| `{cell.name}` |" not in text] == []


def test_a_plot_has_bars_in_proportion_and_names_that_are_text() -> None:
    drawn = plot.bars(
        "<Rates>", [plot.Bar("a & b", 50, 40, 60, ours=True), plot.Bar("c", 100, 90, 100)]
    )
    wide = plot.WIDTH - plot.LEFT - plot.RIGHT
    assert f"h{wide / 2:.1f}" in drawn
    assert f"h{wide:.1f}" in drawn
    texts = [each.text for each in ET.fromstring(drawn).iter() if each.tag.endswith("text")]
    assert texts == ["<Rates>", "a & b", "50", "c", "100"]


def test_the_bars_of_ours_are_told_from_others() -> None:
    found = page.bars(kept_cell("drain", 50.0))
    assert {bar.name: bar.ours for bar in found} == {OURS: True, LIMIT: False}
