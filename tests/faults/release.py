"""The attacks at the size of a release, and their report: `python -m tests.faults.release`.

Runs, each in a process of its own: the attacks, once more as many as in a change; the tests of
what keeps the promise without any plugin (`CHANCY_ALLOW=`); the acceptance tests through a pooler
and as a role of the least rights; the mutants. Writes `docs/reliability/release.md`, in which every
skipped test stands with the capability that this machine lacks. The exit status is 1 if anything
failed. Takes about an hour on two cores.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

from attrs import field, frozen

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "docs" / "reliability" / "release.md"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]


@frozen
class Part:
    """One of the runs: its name, what it runs, and in what environment."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(factory=dict)


KEEPING = ["tests/faults/known", "tests/faults/test_kills.py", "tests/faults/test_zombies.py"]
PARTS = (
    Part("the attacks, at the size of a release", [*PYTEST, "-m", "faults", "tests/faults"],
         {"CHANCY_FAULTS": "release"}),
    Part("without any plugin, CHANCY_ALLOW=", [*PYTEST, *KEEPING], {"CHANCY_ALLOW": ""}),
    Part("through a pooler of transactions", [*PYTEST, "tests/acceptance", "-m", "not slow"],
         {"CHANCY_TEST_POOLER": "transaction"}),
    Part("as a role of the least rights", [*PYTEST, "tests/acceptance", "-m", "not slow"],
         {"CHANCY_TEST_ROLES": "1"}),
    Part("the mutants", [sys.executable, "-m", "tests.faults.mutants"]),
)  # fmt: skip


@frozen
class Ran:
    """What came of a part."""

    part: Part
    status: int
    seconds: float
    passed: int
    failed: list[str]
    skipped: dict[str, int]


def run(part: Part, folder: Path) -> Ran:
    """Run a part; its output goes where ours goes."""
    print(f"\n=== {part.name}", flush=True)
    xml = folder / "results.xml"
    xml.unlink(missing_ok=True)
    told = {"CHANCY_FAULTS_FIGURES": str(folder / "figures.jsonl")} | part.environment
    command = [*part.command, f"--junitxml={xml}"] if "pytest" in part.command else part.command
    began = time.monotonic()
    status = subprocess.run(command, cwd=ROOT, env=os.environ | told, check=False).returncode
    seconds = time.monotonic() - began
    passed, failed, skipped = 0, [], {}
    for case in ET.parse(xml).iter("testcase") if xml.exists() else ():
        name = f"{case.get('classname')}::{case.get('name')}"
        if (why := case.find("skipped")) is not None:
            reason = str(why.get("message"))
            skipped[reason] = skipped.get(reason, 0) + 1
        elif case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        else:
            passed += 1
    return Ran(part, status, seconds, passed, failed, skipped)


def _machine() -> list[str]:
    from chancy_core.embedded import programs

    names = ("chancy", "anyio", "trio", "psycopg", "attrs", "pluggy", "hypothesis")
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    server = f"PostgreSQL {programs.find().version}"
    return [
        f"* {datetime.now(UTC):%Y-%m-%d}, commit `{_commit()}`",
        f"* Python {platform.python_version()}, {server}, {system}",
        "* " + ", ".join(f"{name} {version(name)}" for name in names),
    ]


def _commit() -> str:
    asked = ["git", "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def report(runs: list[Ran], figures: list[tuple[str, object]]) -> str:
    """The page: what ran, what was counted, what was skipped and why."""
    made = "Made by `python -m tests.faults.release`. [What it proves](../reliability.md)."
    lines = ["# The attacks of a release", "", *_machine(), "", made, ""]
    lines += ["| run | passed | failed | skipped | seconds |", "| --- | --- | --- | --- | --- |"]
    lines += [_row(ran) for ran in runs]
    lines += ["", "## Figures", "", "| what | figure |", "| --- | --- |"]
    lines += [f"| {name} | {_told(value)} |" for name, value in figures]
    failed = [name for ran in runs for name in ran.failed]
    skipped = [f"{n} times: {why}" for ran in runs for why, n in sorted(ran.skipped.items())]
    for title, found in (("Failed", failed), ("Skipped", skipped)):
        lines += ["", f"## {title}", "", *([f"* {one}" for one in found] or ["Nothing."])]
    return "\n".join(lines) + "\n"


def _row(ran: Ran) -> str:
    passed = ran.passed or ("all" if ran.status == 0 else "not all")
    skipped = sum(ran.skipped.values())
    return f"| {ran.part.name} | {passed} | {len(ran.failed)} | {skipped} | {ran.seconds:.0f} |"


def _told(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", help="run the parts whose names hold this")
    options.add_argument("--to", type=Path, default=REPORT, help="where the report is written")
    told = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = [run(part, folder) for part in PARTS if not told.only or told.only in part.name]
        noted = folder / "figures.jsonl"
        figures = (
            [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []
        )
        told.to.write_text(report(runs, figures))
    print(f"\nwrote {told.to}")
    return int(any(ran.status for ran in runs))


if __name__ == "__main__":
    sys.exit(main())
