"""The release before this one, beside ours: its wheel is kept in `releases`."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from attrs import frozen

from tests.afresh import ROOT

RELEASES = Path(__file__).parent / "releases"


@frozen
class Earlier:
    """That release, unpacked: processes with this *environment* run it, and not the checkout."""

    wheel: Path
    environment: dict[str, str]

    @classmethod
    def unpacked(cls, folder: Path) -> "Earlier":
        """Unpack it in *folder*, which is not there yet; what it needs comes from where we run."""
        wheels = list(RELEASES.glob("*.whl"))
        if not wheels:
            pytest.skip("no wheel of the release before is here: a source distribution has none")
        (wheel,) = wheels
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "site")
        # The tests alone: beside them in the checkout lies the code that must not be found.
        (folder / "tests").mkdir()
        (folder / "tests" / "tests").symlink_to(ROOT / "tests")
        path = os.pathsep.join([str(folder / "site"), str(folder / "tests")])
        return cls(wheel, {"PYTHONSAFEPATH": "1", "PYTHONPATH": path})

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its Python."""
        return subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
