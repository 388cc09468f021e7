"""Environments made afresh, with wheels in them: the checkout is out of sight."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parent.parent


def build(target: str, folder: Path, project: Path = ROOT) -> Path:
    """Build one artefact of a project, offline: hatchling is in the dev environment."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    built = subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (artefact,) = folder.iterdir()
    return artefact


@frozen
class Environment:
    """A virtual environment with nothing in it but what is installed here."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> "Environment":
        """Make one in *folder*, which is not there yet."""
        command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
        subprocess.run(command, check=True, timeout=100)
        return cls(folder)

    def install(self, *what: str, constraints: Path = ROOT / ".ci/constraints.txt") -> None:
        """Install *what* with our pip, in the versions that *constraints* has."""
        command = [sys.executable, "-m", "pip", "--python", str(self.folder / "bin/python")]
        options = ["--quiet", "--no-compile", "--constraint", str(constraints)]
        ran = self._run([*command, "install", *options, *what], self.folder)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    def python(
        self, *arguments: str, cwd: Path, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run its Python in *cwd*, as if nothing of ours or of pytest's were set."""
        return self._run([str(self.folder / "bin/python"), *arguments], cwd, environ)

    def _run(
        self, command: Sequence[str], cwd: Path, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        without = ("CHANCY_", "PYTEST_", "PYTHON", "VIRTUAL_ENV", "DATABASE_URL")
        env = {name: value for name, value in os.environ.items() if not name.startswith(without)}
        env["PATH"] = f"{self.folder / 'bin'}{os.pathsep}{env['PATH']}"
        return subprocess.run(
            command,
            cwd=cwd,
            env=env | dict(environ or {}),
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
