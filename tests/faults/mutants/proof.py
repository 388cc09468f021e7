"""A plugin of pytest: what tests import, here and in their children, is the copy they lie in."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("chancy", "chancy_core", "chancy_plugins", "chancy_executors", "tests")


def pytest_sessionstart(session: pytest.Session) -> None:
    """End the run if any of our packages would come from elsewhere."""
    where = f"import chancy_core, {', '.join(PACKAGES)}; print(chancy_core.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", where], capture_output=True, text=True, check=False
    )
    found = {name: importlib.util.find_spec(name) for name in PACKAGES}
    places = [spec.origin if spec else None for spec in found.values()]
    places.append(done.stdout.strip() or done.stderr)
    root = session.config.rootpath.resolve()
    for place in places:
        if place is None or not Path(place).resolve().is_relative_to(root):
            pytest.exit(f"not the copy at {root}: {place}", returncode=4)
    print(f"imported: {places[-1]}")
