"""The page for those who move here: each feature has a verdict, and a test that is there."""

import ast
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from attrs import field, frozen

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/migrating-from-chancy.md"
HEAD = ["feature", "verdict", "here", "test"]
#: The tables, and the fewest rows that would do: a table that was cut short is not the whole.
SECTIONS = {
    "The application": 51,
    "Jobs": 29,
    "Queues": 18,
    "Workers": 36,
    "Executors": 26,
    "The plugin core": 17,
    "Events": 13,
    "Synchronous calls": 8,
    "Shipped plugins": 36,
}
#: A fault or a wish of the existing system's, by its number, or the section of what users ask for.
REASON = re.compile(r"\((?:.*, )?(?:W\d+|S\d+|#\d+|section 4)\)")


@frozen
class Row:
    """One feature, as its table has it."""

    feature: str
    verdict: str
    here: str
    tests: list[str] = field(converter=lambda cell: re.findall(r"`([^`]+)`", cell))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def read(text: str) -> dict[str, list[Row]]:
    """Return the rows of each section that has a table of features."""
    found: dict[str, list[Row]] = {}
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        cells: list[list[str]] = []
        for part in re.split(r"^#### ", body, flags=re.MULTILINE):  # each has a table of its own
            head, _, *lines = [line for line in part.splitlines() if line.startswith("|")]
            assert _cells(head) == HEAD, f"the table of {title!r} has other columns"
            cells += [_cells(line) for line in lines]
        for row in cells:
            assert len(row) == len(HEAD), f"{title}: {row}"
        found[title] = [Row(*row) for row in cells]
    return found


ROWS = read(PAGE.read_text("utf-8"))
EVERY = [row for rows in ROWS.values() for row in rows]


@cache
def defined_in(file: str) -> frozenset[str]:
    """Return the names of the test functions of a module, without importing it."""
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    defined = ast.parse(path.read_text("utf-8")).body
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in defined if isinstance(node, kinds))


def missing(named: Iterable[str]) -> list[str]:
    """Return those of the named tests that are not there."""
    wrong = []
    for test in named:
        file, _, name = test.partition("::")
        if not name.startswith("test_") or name not in defined_in(file):
            wrong.append(test)
    return wrong


def test_each_section_has_its_table() -> None:
    assert list(ROWS) == list(SECTIONS)
    assert {title: len(rows) for title, rows in ROWS.items() if len(rows) < SECTIONS[title]} == {}


def test_each_feature_stands_there_once_with_a_verdict() -> None:
    for row in EVERY:
        assert row.feature
        assert row.verdict in {"same", "better", "refused"}, row
        assert row.verdict == "same" or row.here, row
    for title, rows in ROWS.items():
        assert [
            f for f, count in Counter(row.feature for row in rows).items() if count > 1
        ] == [], title


def test_few_are_refused_and_each_for_a_reason() -> None:
    refused = [row for row in EVERY if row.verdict == "refused"]
    assert len(refused) <= 5
    for row in refused:
        assert REASON.search(row.here), row


def test_every_named_test_is_there() -> None:
    for row in EVERY:
        assert row.tests, row
    assert missing(test for row in EVERY for test in row.tests) == []


def test_a_test_that_is_not_there_would_be_found() -> None:
    here = "tests/test_migrating.py"
    right = f"{here}::test_every_named_test_is_there"
    wrong = ["tests/nowhere.py::test_x", f"{here}::test_x", f"{here}::read", here, ""]
    assert missing([right, *wrong]) == wrong
