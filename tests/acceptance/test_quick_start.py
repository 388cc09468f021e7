"""The README's quick start, followed to the letter in a fresh environment.

The wheel of the checkout takes the place of the index's; all else comes from the index, in the
newest versions that are allowed (or pinned, where PIP_CONSTRAINT says so) and in the lowest.
"""

import os
import re
import sys
import time
import tomllib
from pathlib import Path

import pytest

from tests.reader import Reader, steps
from tests.test_packaging import build

ROOT = Path(__file__).parents[2]


def lowest() -> list[str]:
    """The lowest versions of what the quick start installs, as constraints of pip."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["cli"], *extras["embedded"]]
    return [re.sub(r"\[.*?\]|,.*?(?=;|$)", "", line).replace(">=", "==") for line in needed]


def test_the_lowest_versions_are_those_of_the_project():
    assert {"rich==14", "uuid-utils==0.11; python_version < '3.14'"} <= set(lowest())
    assert all(re.fullmatch(r"[\w-]+==[\d.]+(; .*)?", line) for line in lowest())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def nothing(
    tmp_path: Path, server_home: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, dict[str, str]]:
    """A folder without anything, and an environment with this Python and no more."""
    for name in ("CHANCY_DSN", "DATABASE_URL", "VIRTUAL_ENV", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    (programs := tmp_path / "bin").mkdir()
    python = programs / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys._base_executable} "$@"\n')
    python.chmod(0o755)
    (folder := tmp_path / "acme").mkdir()
    return folder, {"PATH": f"{programs}:/usr/bin:/bin", "CHANCY_HOME": str(server_home)}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("versions", ["newest", "lowest"])
def test_a_job_of_the_readers_own_within_a_minute(
    versions: str, wheel: Path, tmp_path: Path, nothing: tuple[Path, dict[str, str]]
):
    folder, env = nothing
    ours = f"chancy=={wheel.name.split('-')[1]}"  # a version that the index does not have
    pinned = lowest() if versions == "lowest" else []
    (tmp_path / "constraints.txt").write_text("\n".join([ours, *pinned]))
    told = "" if pinned else os.environ.get("PIP_CONSTRAINT", "")
    env["PIP_CONSTRAINT"] = f"{tmp_path / 'constraints.txt'} {told}".strip()
    env["PIP_FIND_LINKS"] = f"{wheel.parent} {os.environ.get('PIP_FIND_LINKS', '')}".strip()
    text = (ROOT / "README.md").read_text("utf-8")
    (section,) = re.findall(r"^## Quick start\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    (_, install), *rest = steps(section)
    with Reader(folder, **env) as reader:
        reader.do("console", install.replace("\n", " && ", 1))
        installed = time.monotonic()
        for step in rest:
            reader.do(*step)
        took = time.monotonic() - installed
    print(f"from the download to a finished job: {took:.1f} s with the {versions} versions")
    assert took < 60
