"""`from chancy import …` is cheap: what an application may never use is not loaded for it."""

import json
import subprocess
import sys

import pytest

import chancy
from tests.benchmarks import imports

LATER = (
    "psycopg",
    "cattrs",
    "cyclopts",
    "rich",
    "re2",
    "chancy_core.filter",
    "pydantic",
    "distributed",
    "chancy_plugins",
    "chancy_executors",
)


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules that are there after the import, in an interpreter of its own."""
    script = f"{imports.OURS}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stdout))


@pytest.mark.parametrize("package", LATER)
def test_is_not_loaded_by_importing_chancy(loaded: set[str], package: str) -> None:
    assert package not in loaded


def test_the_import_was_of_chancy(loaded: set[str]) -> None:
    assert {"chancy", "chancy_core", "anyio"} <= loaded


def test_every_name_that_is_promised_is_there() -> None:
    for name in chancy.__all__:
        assert getattr(chancy, name).__module__.startswith("chancy_core."), name
    assert sorted(chancy.__all__) == sorted(set(chancy.__all__))
    with pytest.raises(ImportError, match="Nothing"):
        from chancy import Nothing  # noqa: F401
