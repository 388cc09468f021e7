"""Start the supervisor of a folder's server, as a process that outlives ours."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from chancy_core.embedded import programs
from chancy_core.embedded.folders import home, make
from chancy_core.errors import EmbeddedError

Progress = Callable[[str], None]


def launch(
    folder: Path,
    settings: dict[str, str],
    linger: float,
    progress: Progress,
    *,
    throwaway: bool,
    start_lock: int,
) -> None:
    """Start a supervisor, and return when its server answers.

    By then *start_lock* is free: the supervisor unlocks it for whoever shares it.
    *progress* is told what takes a while.

    Raises EmbeddedError, with what the supervisor said or its last words.
    """
    user = programs.account(folder / "data")
    found = _programs(folder, user, progress)
    orders = {
        "folder": str(folder),
        "bindir": str(found.bindir),
        "version": found.version,
        "settings": {name: str(value) for name, value in settings.items()},
        "linger": linger,
        "throwaway": throwaway,
        "user": user and [user.uid, user.gid],
        "start_lock": start_lock,
    }
    script = Path(__file__).with_name("supervisor.py")
    with tempfile.TemporaryFile() as given, (folder / "supervisor.log").open("ab") as log:
        given.write(json.dumps(orders).encode())
        given.seek(0)
        with subprocess.Popen(
            [sys.executable, "-I", "-S", str(script)],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            start_new_session=True,
            pass_fds=[start_lock],
        ) as process:
            assert process.stdout is not None
            _listen(folder, process.stdout, progress)


def _programs(folder: Path, user: programs.Account | None, progress: Progress) -> programs.Programs:
    """Programs that `user` may execute, on a folder that it can reach."""
    found = programs.find()
    if user is None:
        return found
    make(home())
    if not user.can("-x", folder):
        raise EmbeddedError(
            f"The user {user.name}, which runs PostgreSQL for root, cannot reach {folder}. "
            f"Choose another folder, for instance by CHANCY_HOME."
        )
    return programs.within_reach(found, user, home(), progress)


def _listen(folder: Path, said: Iterator[bytes], progress: Progress) -> None:
    for line in said:
        message = json.loads(line)
        if "say" in message:
            progress(message["say"])
        elif "error" in message:
            raise EmbeddedError(f"No server in {folder}. {message['error']}")
        else:
            return
    log = (folder / "supervisor.log").read_text(errors="replace")
    last = "\n".join(log.splitlines()[-8:])
    raise EmbeddedError(f"The server's supervisor in {folder} was killed. Its last words:\n{last}")
