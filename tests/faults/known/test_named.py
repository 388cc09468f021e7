"""Each known defect has its test, by name; this runs with the ordinary tests."""

import ast
import re
from collections import Counter
from pathlib import Path

from tests.faults.known import EVERY, PROBES

NUMBERS = re.compile(r"((?:[A-Z]|[a-z]+)\d\S*(?:, \S+)*): \S+")


def proved(source: str) -> dict[str, list[str]]:
    """Return which defects the tests of a module prove that we do not have."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            told = NUMBERS.match(ast.get_docstring(node) or "")
            found[node.name] = told[1].split(", ") if told else []
    return found


def test_every_item_has_its_test():
    modules = [path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    tests = [proved(path.read_text("utf-8")) for path in modules]
    assert [name for found in tests for name, numbers in found.items() if not numbers] == []
    counted = Counter(number for found in tests for numbers in found.values() for number in numbers)
    assert counted.keys() == set(EVERY)
    assert (len(EVERY), len(PROBES)) == (40, 16)


def test_a_test_that_names_nothing_would_be_found():
    assert proved('def test_a():\n    """W1, b1: it did."""') == {"test_a": ["W1", "b1"]}
    assert proved('def test_a():\n    """It did."""\ndef b(): ...') == {"test_a": []}
