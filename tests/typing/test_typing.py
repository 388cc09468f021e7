"""Type checkers find what is planted in `planted.py`, and nothing else there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLANTED = Path(__file__).with_name("planted.py")

#: A line, and what is wrong with it in the words of a type checker.
Errors = list[tuple[int, str]]


def marked(checker: str) -> Errors:
    found = []
    for number, line in enumerate(PLANTED.read_text("utf-8").splitlines(), 1):
        mark = re.search(rf"  # .*\b{checker}: ([\w|-]+)", line)
        if mark:
            found += [(number, code) for code in mark[1].split("|")]
    return sorted(found)


def run(*command: str) -> str:
    quiet = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # of newer versions: ours is pinned
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr  # errors were found
    return done.stdout


def by_mypy() -> Errors:
    lines = run("mypy", "--strict", "--output=json", str(PLANTED)).splitlines()
    reports = [json.loads(line) for line in lines if line.startswith("{")]
    errors = [report for report in reports if report["severity"] == "error"]
    assert {Path(report["file"]).name for report in errors} == {PLANTED.name}
    return sorted((report["line"], report["code"]) for report in errors)


def by_pyright() -> Errors:
    told = run("pyright", "--outputjson", "--pythonpath", sys.executable)
    reports = json.loads(told)["generalDiagnostics"]
    errors = [report for report in reports if report["severity"] == "error"]
    found = [report for report in errors if Path(report["file"]) == PLANTED]
    return sorted((report["range"]["start"]["line"] + 1, report["rule"]) for report in found)


@pytest.mark.slow
@pytest.mark.parametrize("check", [by_mypy, by_pyright])
def test_what_is_planted_is_found_exactly(check: object) -> None:
    assert callable(check)
    checker = check.__name__.removeprefix("by_")
    expected = marked(checker)
    assert len(expected) > 30
    assert check() == expected
