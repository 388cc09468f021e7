"""The attacks at the size of a release, and their report: `python -m tests.faults.release`.

Runs, each in a process of its own and several at a time: every file of attacks, more often than in
a change; all of them once, as in a change, without any plugin (`CHANCY_ALLOW=`); the acceptance
tests through a pooler and as a role of the least rights; the mutants. Writes
`docs/reliability/release.md`, in which every skipped test stands with the capability that this
machine lacks. The exit status is 1 if anything failed. Takes about an hour on two cores.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

from attrs import field, frozen

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "docs" / "reliability" / "release.md"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"]


@frozen
class Part:
    """One of the runs: its name, what it runs, and in what environment."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(factory=dict)


#: Those that take longest, which are begun first.
LONG = ("terms", "machine", "commits", "zombies", "network", "server", "poison", "explorer")
ALSO = (
    Part(
        "acceptance, through a pooler of transactions",
        [*PYTEST, "tests/acceptance", "-m", "not slow"],
        {"CHANCY_TEST_POOLER": "transaction"},
    ),
    Part(
        "acceptance, as a role of the least rights",
        [*PYTEST, "tests/acceptance", "-m", "not slow"],
        {"CHANCY_TEST_ROLES": "1"},
    ),
    Part("attacks without any plugin", [*PYTEST, "-m", "faults"], {"CHANCY_ALLOW": ""}),
    Part("mutants", [sys.executable, "-m", "tests.faults.mutants"]),
)


def parts() -> list[Part]:
    """All runs, in the order in which they are begun: each file of attacks, and the others."""
    files = [*ROOT.glob("tests/faults/**/test_*.py"), *ROOT.glob("tests/security/test_*.py")]
    files = [file for file in files if "pytest.mark.faults" in file.read_text()]

    def place(file: Path) -> int:
        name = file.stem.removeprefix("test_")
        return LONG.index(name) if name in LONG else len(LONG)

    attacks = [
        Part(
            file.relative_to(ROOT / "tests").as_posix(),
            [*PYTEST, "-m", "faults", str(file.relative_to(ROOT))],
            {"CHANCY_FAULTS": "release"},
        )
        for file in sorted(files, key=lambda file: (place(file), file))
    ]
    return [*attacks[: len(LONG)], *ALSO, *attacks[len(LONG) :]]


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
    """Run a part; what it printed is shown when it has ended."""
    xml = folder / f"{part.name.replace('/', '-')}.xml"
    told = {"CHANCY_FAULTS_FIGURES": str(folder / "figures.jsonl")} | part.environment
    command = [*part.command, f"--junitxml={xml}"] if "pytest" in part.command else part.command
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | told, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    seconds = time.monotonic() - began
    print(f"\n=== {part.name}: status {done.returncode} after {seconds:.0f} s", flush=True)
    print(done.stdout if done.returncode else done.stdout[-300:], flush=True)
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
    if done.returncode and not failed:
        failed.append(f"{part.name}: status {done.returncode}")
    return Ran(part, done.returncode, seconds, passed, failed, skipped)


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
    lines += [f"In all {sum(ran.passed for ran in runs):,} tests passed.", ""]
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
    options.add_argument("--only", default="", help="run the parts whose names hold this")
    options.add_argument("--to", type=Path, default=REPORT, help="where the report is written")
    options.add_argument("--at-once", type=int, default=(os.cpu_count() or 1) + 1)
    told = options.parse_args()
    wanted = [part for part in parts() if told.only in part.name]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ThreadPoolExecutor(told.at_once) as pool:
            runs = list(pool.map(lambda part: run(part, folder), wanted))
        noted = folder / "figures.jsonl"
        lines = noted.read_text().splitlines() if noted.exists() else []
        told.to.parent.mkdir(parents=True, exist_ok=True)
        told.to.write_text(report(runs, sorted(json.loads(line) for line in lines)))
    print(f"\nwrote {told.to}")
    return int(any(ran.status for ran in runs))


if __name__ == "__main__":
    sys.exit(main())
