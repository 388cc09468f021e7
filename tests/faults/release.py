"""The attacks at the size of a release, and their report: `python -m tests.faults.release`.

Runs, each in a process of its own and several at a time: every file of attacks, more often than in
a change; all of them once, as in a change, without any plugin (`CHANCY_ALLOW=`); the acceptance
tests through a pooler and as a role of the least rights; the mutants. Writes
`docs/reliability/release.md`, in which every skipped test stands with the capability that this
machine lacks. What came of each is kept beside it as JSON: once what failed is mended, `--again`
runs that alone, and the report names the commit of each run. The exit status is 1 if anything
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
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from xml.etree import ElementTree as ET

from attrs import asdict, field, frozen

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
LONG = (
    "terms",
    "machine",
    "commits",
    "zombies",
    "network",
    "server",
    "poison",
    "explorer",
    "cancel_races",
)
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
    folders = ("tests/faults/**", "tests/security", "tests/contract")
    files = [file for folder in folders for file in ROOT.glob(f"{folder}/test_*.py")]
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
    long = sum(place(file) < len(LONG) for file in files)
    return [*attacks[:long], *ALSO, *attacks[long:]]


@frozen
class Ran:
    """What came of a part: how many tests passed, which failed, why some were skipped, figures."""

    name: str
    commit: str
    status: int
    seconds: float
    passed: int
    failed: list[str]
    skipped: dict[str, int]
    figures: list[tuple[str, object]]


def run(part: Part, folder: Path) -> Ran:
    """Run a part; what it printed is shown when it has ended."""
    place = folder / part.name.replace("/", "-")
    xml, noted = place.with_suffix(".xml"), place.with_suffix(".jsonl")
    told = {"CHANCY_FAULTS_FIGURES": str(noted)} | part.environment
    command = [*part.command, f"--junitxml={xml}"] if "pytest" in part.command else part.command
    commit, began = _commit(), time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | told, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    seconds = time.monotonic() - began
    print(f"\n=== {part.name}: status {done.returncode} after {seconds:.0f} s", flush=True)
    print(done.stdout if done.returncode else done.stdout[-300:], flush=True)
    passed, failed, skipped = _results(xml)
    if done.returncode and not failed:
        failed.append(f"status {done.returncode}")
    figures = [json.loads(line) for line in noted.open()] if noted.exists() else []
    return Ran(part.name, commit, done.returncode, round(seconds), passed, failed, skipped, figures)


def _results(xml: Path) -> tuple[int, list[str], dict[str, int]]:
    """How many tests of a run passed, which failed, and how many were skipped for which reason."""
    passed, failed, skipped = 0, [], Counter[str]()
    for case in ET.parse(xml).iter("testcase") if xml.exists() else ():
        if (why := case.find("skipped")) is not None:
            skipped[str(why.get("message"))] += 1
        elif case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        else:
            passed += 1
    return passed, failed, dict(skipped)


def _machine() -> list[str]:
    from chancy_core.embedded import programs

    names = ("chancy", "anyio", "trio", "psycopg", "attrs", "pluggy", "hypothesis")
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    server = f"PostgreSQL {programs.find().version}"
    return [
        f"* {datetime.now(UTC):%Y-%m-%d}",
        f"* Python {platform.python_version()}, {server}, {system}",
        "* " + ", ".join(f"{name} {version(name)}" for name in names),
    ]


def _commit() -> str:
    asked = ["git", "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def report(runs: list[Ran]) -> str:
    """The page: what ran, what was counted, what was skipped and why."""
    made = "Made by `python -m tests.faults.release`. [What it proves](../reliability.md)."
    lines = ["# The attacks of a release", "", *_machine(), "", made, ""]
    lines += [f"In all {sum(ran.passed for ran in runs):,} tests passed.", ""]
    lines += ["| run | commit | passed | failed | skipped | seconds |"]
    lines += ["| --- | --- | --- | --- | --- | --- |", *map(_row, runs)]
    for ran in runs:
        if ran.figures:
            lines += ["", f"## {ran.name}", "", "| what | figure |", "| --- | --- |"]
            lines += [f"| {name} | {_told(value)} |" for name, value in sorted(ran.figures)]
    failed = [f"{ran.name}: {name}" for ran in runs for name in ran.failed]
    skipped = [f"{n} times: {why}" for ran in runs for why, n in sorted(ran.skipped.items())]
    for title, found in (("Failed", failed), ("Skipped", skipped)):
        lines += ["", f"## {title}", "", *([f"* {one}" for one in found] or ["Nothing."])]
    return "\n".join(lines) + "\n"


def _row(ran: Ran) -> str:
    passed = ran.passed or ("all" if ran.status == 0 else "not all")
    counts = f"{passed} | {len(ran.failed)} | {sum(ran.skipped.values())}"
    return f"| {ran.name} | `{ran.commit}` | {counts} | {ran.seconds:.0f} |"


def _told(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


class Kept:
    """What came of all parts, kept as JSON beside the report as soon as each has ended."""

    def __init__(self, to: Path, *, again: bool) -> None:
        self._to, self._json = to, to.with_suffix(".json")
        old = json.loads(self._json.read_text()) if again and self._json.exists() else []
        self.green = {ran["name"]: Ran(**ran) for ran in old if ran["status"] == 0}
        self._runs = dict(self.green)
        self._lock = Lock()

    def keep(self, ran: Ran) -> Ran:
        """Keep what came of a part, and write the report anew."""
        with self._lock:
            self._runs[ran.name] = ran
            order = [part.name for part in parts()]
            runs = sorted(self._runs.values(), key=lambda ran: order.index(ran.name))
            self._to.parent.mkdir(parents=True, exist_ok=True)
            self._json.write_text(json.dumps([asdict(ran) for ran in runs], indent=1) + "\n")
            self._to.write_text(report(runs))
        return ran


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", default="", help="run the parts whose names hold this")
    options.add_argument("--again", action="store_true", help="keep what is green, run the rest")
    options.add_argument("--to", type=Path, default=REPORT, help="where the report is written")
    options.add_argument("--at-once", type=int, default=(os.cpu_count() or 1) + 1)
    told = options.parse_args()
    kept = Kept(told.to, again=told.again)
    wanted = [p for p in parts() if told.only in p.name and p.name not in kept.green]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(told.at_once) as pool:
        runs = list(pool.map(lambda part: kept.keep(run(part, Path(name))), wanted))
    print(f"\nwrote {told.to}")
    return int(any(ran.status for ran in runs))


if __name__ == "__main__":
    sys.exit(main())
