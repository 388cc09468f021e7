"""A virtual environment for each peer, made once and kept in a cache folder."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.peers import Peer


class NotInstalled(Exception):
    """A peer cannot be run here; says why."""


def cache() -> Path:
    """Where the environments are kept: below XDG_CACHE_HOME, or ~/.cache."""
    told = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(told) / "chancy-benchmarks"


def python_of(peer: Peer) -> Path:
    """The interpreter of the peer's environment, which is made if it is not there.

    Raises `NotInstalled` if this Python is too old for it, or if pip fails.
    """
    if sys.version_info[:2] < peer.python:
        oldest = ".".join(map(str, peer.python))
        raise NotInstalled(f"{peer.name} needs Python {oldest}: run the benchmark with that")
    packages = (*peer.packages, "psycopg[binary]==3.3.9")
    known = hashlib.sha256(repr((sys.version, packages)).encode()).hexdigest()[:16]
    folder = cache() / known
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"installing {', '.join(peer.packages)} …", flush=True)
        _run(peer, sys.executable, "-m", "venv", "--clear", str(folder))
        _run(peer, str(python), "-m", "pip", "install", "--quiet", *packages)
        (folder / "complete").touch()
    return python


def _run(peer: Peer, *command: str) -> None:
    # Our own pins are not theirs.
    environment = {k: v for k, v in os.environ.items() if k != "PIP_CONSTRAINT"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise NotInstalled(f"{peer.name} cannot be installed: {done.stderr.strip()[-500:]}")
