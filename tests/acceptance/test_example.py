"""`docs/examples/chancy-acme`, the package to copy: short, and whole without our sources."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.test_readme import blocks
from tests.afresh import ROOT, Environment, build

ACME = ROOT / "docs/examples/chancy-acme"
README = "docs/examples/chancy-acme/README.md"
#: What tools have left behind in the checkout.
LEFT = shutil.ignore_patterns("__pycache__", ".*_cache", "dist", ".venv")


def copied(to: Path) -> Path:
    return shutil.copytree(ACME, to, ignore=LEFT)


def project() -> dict[str, Any]:
    return tomllib.loads((ACME / "pyproject.toml").read_text())["project"]


def workflow() -> dict[str, Any]:
    return yaml.safe_load((ACME / ".github/workflows/test.yml").read_text())["jobs"]


def test_it_has_under_300_lines() -> None:
    package = [path for path in (ACME / "chancy_acme").rglob("*") if path.suffix in {".py", ".sql"}]
    assert len(package) == 10, "count what has come in, too"
    assert sum(len(path.read_text().splitlines()) for path in package) < 300


def test_each_of_its_files_is_shown_on_its_page_and_has_a_test() -> None:
    page = (ROOT / "docs/a-package-of-your-own.md").read_text()
    shown = set(
        re.findall(r"^```\{literalinclude\} examples/chancy-acme/(.*)$", page, re.MULTILINE)
    )
    files = [path.relative_to(ACME) for path in ACME.rglob("*") if path.suffix in {".py", ".sql"}]
    code = {path for path in files if path.parts[0] == "chancy_acme" and path.stem != "__init__"}
    assert shown >= {*map(str, code), "pyproject.toml", ".github/workflows/test.yml"}
    listed = set(re.findall(r"`(\w+)\.py`", (ACME / "README.md").read_text()))
    assert listed == {path.stem for path in code if path.suffix == ".py"}
    tests = {path.stem for path in files if path.match("tests/test_*.py")}
    assert tests == {f"test_{name}" for name in listed - {"child"}}


def test_it_is_tested_on_the_versions_that_it_says_it_runs_on() -> None:
    versions = re.findall(r"Python :: (3\.\d+)", " ".join(project()["classifiers"]))
    assert workflow()["test"]["strategy"]["matrix"]["python"] == versions
    assert project()["requires-python"] == f">={versions[0]}"


def test_it_is_published_by_a_tag_without_a_password_and_not_as_it_is_here() -> None:
    publish = workflow()["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert (publish["needs"], publish["if"]) == ("test", "startsWith(github.ref, 'refs/tags/v')")
    text = (ACME / ".github/workflows/test.yml").read_text()
    assert not re.search(r"secrets\.|password:|https?://", text)
    assert "Private :: Do Not Upload" in project()["classifiers"]


def test_its_workflow_runs_what_its_readme_says() -> None:
    ran = [step["run"] for step in workflow()["test"]["steps"] if "run" in step]
    said = blocks(README, "sh")[1].replace(" --fix", "").replace("format .", "format --check .")
    assert said.splitlines()[2:] == ran


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_is_right_where_it_is_installed_beside_the_wheel(server: str, tmp_path: Path) -> None:
    wheel = build("wheel", tmp_path / "chancy")
    theirs = build("wheel", tmp_path / "acme", ACME)
    environment = Environment.made(tmp_path / "environment")
    environment.install(f"chancy[embedded,trio] @ {wheel.as_uri()}", f"{theirs}[dev]")
    checked = copied(tmp_path / "checked")
    for tool in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
        ran = environment.python("-m", *tool, cwd=checked)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(ACME / "tests", elsewhere / "tests", ignore=LEFT)
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


@pytest.mark.slow
def test_a_copy_under_another_name_is_right_too(server: str, tmp_path: Path) -> None:
    copied(tmp_path / "chancy-acme")
    here = Environment(Path(sys.executable).parents[1])
    rename, check = blocks(README, "sh")
    subprocess.run(["sh", "-e", "-c", rename], cwd=tmp_path, check=True)
    tea = tmp_path / "chancy-tea"
    files = [path for path in tea.rglob("*") if path.is_file()]
    assert [file for file in files if "acme" in f"{file.relative_to(tea)}".lower()] == []
    assert [file for file in files if "acme" in file.read_text().lower()] == []
    for line in check.splitlines():
        if line.startswith("ruff"):
            assert here.python("-m", *line.split(), cwd=tea).returncode == 0, line
    site = tmp_path / "site"
    zipfile.ZipFile(build("wheel", tmp_path / "dist", tea)).extractall(site)
    shutil.rmtree(tea / "chancy_tea")
    # The exams are for what is in the files; these tests find it by its new names.
    command = ["-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", "not keeps_the_contract"]
    environ = {"CHANCY_TEST_DSN": server, "PYTHONPATH": str(site)}
    ran = here.python(*command, cwd=tea, environ=environ)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert set(re.findall(r"tests/(\w+)\.py::", ran.stdout)) == {
        path.stem for path in (ACME / "tests").glob("test_*.py")
    }
