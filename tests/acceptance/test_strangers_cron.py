"""A plugin of ours, copied to a package of its own: a stranger's rules are ours.

Only the names of its imports change. It is installed beside the wheel, whose own is kept out, and
passes its own tests there, far from our sources.
"""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.afresh import ROOT, Environment, build

PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "strange-cron"
version = "1.0"
dependencies = ["chancy[cron]"]

[project.entry-points."chancy.plugins"]
strange-cron = "strange_cron.hooks"

[project.entry-points."chancy.migrations"]
strange_cron = "strange_cron.migrations"

[project.entry-points."chancy.commands"]
strange-cron = "strange_cron.command:app"

[tool.pytest.ini_options]
anyio_mode = "auto"
filterwarnings = ["error"]
"""


def copied(source: Path, target: Path) -> list[Path]:
    """Copy a folder, with the names of its imports changed; answers what is in the copy."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    paths = list(target.rglob("*.*"))
    for path in paths:
        if path.suffix == ".py":
            path.write_text(path.read_text().replace("chancy_plugins.cron", "strange_cron"))
    return paths


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_passes_its_tests_as_a_package_of_somebody_elses(server: str, tmp_path: Path) -> None:
    wheel = build("wheel", tmp_path / "chancy")
    project = tmp_path / "strange"
    assert len(copied(ROOT / "chancy_plugins/cron", project / "strange_cron")) > 14
    (project / "pyproject.toml").write_text(PYPROJECT)
    theirs = build("wheel", tmp_path / "wheel", project)
    environment = Environment.made(tmp_path / "environment")
    extras = f"chancy[cli,cron,embedded,trio] @ {wheel.as_uri()}"
    environment.install(extras, str(theirs), "pytest", "hypothesis")
    elsewhere = tmp_path / "elsewhere"
    copied(ROOT / "tests/plugins/cron", elsewhere / "tests")
    shutil.copy(project / "pyproject.toml", elsewhere)
    # Ours is there as well, and would take the same tables.
    environ = {"CHANCY_TEST_DSN": server, "CHANCY_DISABLED_PLUGINS": "cron"}
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider")

    def tested(file: Path) -> CompletedProcess[str]:
        return environment.python(*command, f"tests/{file.name}", cwd=elsewhere, environ=environ)

    with ThreadPoolExecutor(4) as at_once:  # much of it is waiting for the next second
        for ran in at_once.map(tested, (elsewhere / "tests").glob("test_*.py")):
            assert ran.returncode == 0, ran.stdout + ran.stderr
    where = "import strange_cron, sys; print(strange_cron.__file__)"
    (file,) = environment.python("-c", where, cwd=elsewhere).stdout.split()
    assert Path(file).is_relative_to(environment.folder)
    told = environment.python(
        "-c", "from chancy_core.cli import main; main()", "plugins", cwd=elsewhere, environ=environ
    )
    assert "strange-cron" in told.stdout, told.stderr
