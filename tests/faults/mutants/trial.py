"""Runs tests on a copy of our code, whole or without one of its guards."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree as ET

from attrs import field, frozen

from tests.faults.mutants.mutant import Mutant
from tests.faults.mutants.patches import apply

ROOT = Path(__file__).parents[3]
COPIED = ("chancy_core", "chancy_plugins", "executors", "tests")
#: A test is over in this many seconds, and a run.
PATIENCE, LONGEST = 60, 300
#: Our settings, which these runs have not from whoever runs them.
OURS = ("CHANCY_", "PYTEST_", "PYTHON")
#: What pytest answers if tests ran, and all passed; or some failed.
GREEN, RED = 0, 1


@frozen
class Ran:
    """What came of the tests: their names, `file::test`, without their parameters."""

    mutant: Mutant | None
    status: int
    seconds: float
    output: str
    passed: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    asked: frozenset[str] = field(factory=frozenset)

    @property
    def as_it_should(self) -> bool:
        """Whether all are green on the whole code, or each of them is red on a mutant."""
        if self.mutant is None:
            return self.status == GREEN and self.passed == self.asked and not self.failed
        return self.status == RED and self.failed == self.asked


def trials(mutants: Sequence[Mutant], server: str, folder: Path) -> Iterator[Ran]:
    """Try the code as it is, with all the tests, and each of *mutants* with its own.

    The tests use databases of their own on *server*; two runs go on at once.
    """
    everything = tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    asked = [(None, everything), *((mutant, mutant.tests) for mutant in mutants)]
    with ThreadPoolExecutor(2) as threads:
        runs = [
            threads.submit(_try, mutant, tests, server, folder / f"{n}")
            for n, (mutant, tests) in enumerate(asked)
        ]
        yield from (run.result() for run in runs)


def _try(mutant: Mutant | None, tests: Iterable[str], server: str, root: Path) -> Ran:
    _copy(root)
    for patch in mutant.patches if mutant else ():
        apply(patch, root)
    began = time.monotonic()
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-n0", "-p", "tests.faults.mutants.proof",
            "-p", "no:cacheprovider", "-s", f"--timeout={PATIENCE}", "--junitxml=results.xml",
            # A guard is the same on both event loops.
            "-k", "not trio", *tests,
        ],
        cwd=root, env=_environment(server, root), timeout=LONGEST, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    seconds = time.monotonic() - began
    passed, failed = _read(root / "results.xml")
    shutil.rmtree(root)
    asked = frozenset(test.partition("[")[0] for test in tests)
    return Ran(mutant, done.returncode, seconds, done.stdout, passed, failed, asked)


def _copy(root: Path) -> None:
    for name in COPIED:
        leave = shutil.ignore_patterns("__pycache__", "*.whl")
        shutil.copytree(ROOT / name, root / name, ignore=leave)
    shutil.copy(ROOT / "pyproject.toml", root)


def _environment(server: str, root: Path) -> dict[str, str]:
    """Return an environment in which the copy comes before what is installed."""
    bare = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    paths = (root, root / "chancy_core" / "facade", root / "executors")
    return bare | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "CHANCY_TEST_DSN": server}


def _read(results: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Return which tests passed, and which failed: in themselves, and not in their fixtures."""
    passed, failed = set(), set()
    for case in ET.parse(results).iter("testcase") if results.exists() else ():
        file = str(case.get("classname")).replace(".", "/")
        name = f"{file}.py::{str(case.get('name')).partition('[')[0]}"
        if case.find("failure") is not None:
            failed.add(name)
        elif case.find("error") is None and case.find("skipped") is None:
            passed.add(name)
    return frozenset(passed - failed), frozenset(failed)
