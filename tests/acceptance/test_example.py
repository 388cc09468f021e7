"""`docs/examples/chancy-acme`, the package to copy: short, and whole without our sources."""

import re
import shutil
from pathlib import Path

import pytest

from tests.afresh import ROOT, Environment, build

ACME = ROOT / "docs/examples/chancy-acme"


def test_it_has_under_120_lines() -> None:
    package = [path for path in (ACME / "chancy_acme").rglob("*") if path.suffix in {".py", ".sql"}]
    assert len(package) == 8, "count what has come in, too"
    assert sum(len(path.read_text().splitlines()) for path in [ACME / "README.md", *package]) < 120


@pytest.mark.slow
def test_its_tests_pass_where_it_is_installed_beside_the_wheel(server: str, tmp_path: Path) -> None:
    wheel = build("wheel", tmp_path / "chancy")
    theirs = build("wheel", tmp_path / "acme", ACME)
    environment = Environment.made(tmp_path / "environment")
    environment.install(f"chancy[embedded,trio] @ {wheel.as_uri()}", f"{theirs}[test]")
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(ACME / "tests", elsewhere / "tests")
    shutil.copy(ACME / "pyproject.toml", elsewhere)
    command = ["-m", "pytest", "-v", "-p", "no:cacheprovider"]
    ran = environment.python(*command, cwd=elsewhere, environ={"CHANCY_TEST_DSN": server})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert set(re.findall(r"tests/(\w+)\.py::", ran.stdout)) == {
        path.stem for path in (ACME / "tests").glob("test_*.py")
    }
    where = "import chancy, chancy_acme, sys; print(chancy.__file__, chancy_acme.__file__)"
    files = environment.python("-c", where, cwd=elsewhere).stdout.split()
    assert [Path(file).is_relative_to(environment.folder) for file in files] == [True, True]
