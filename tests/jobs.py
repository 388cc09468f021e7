"""The job functions of the tests; child processes import them from here, as `tests.jobs`."""

import contextvars
import fcntl
import logging
import os
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import attrs
from anyio import to_thread

from chancy import INJECTED, QueuedJob, job
from chancy_core.errors import TimeLimitExceeded

#: Lets go of all `hold` that run in this process.
released = threading.Event()
#: What `hold_async` says when it ends, in this process.
ended: list[str] = []


def _say(fifo: str) -> None:
    """Tell the test, which reads the other end, that the job has begun, and in which process."""
    Path(fifo).write_text(str(os.getpid()))


@job
def add(a: int, b: int) -> int:
    return a + b


@job
async def add_async(a: int, b: int) -> int:
    await anyio.sleep(0)
    return a + b


@job
def tomorrow(when: datetime, who: "UUID") -> list[Any]:
    return [when + timedelta(days=1), type(who).__name__]


@job
async def tomorrow_async(when: datetime, who: "UUID") -> list[Any]:
    return [when + timedelta(days=1), type(who).__name__]


class Refusal(Exception):
    """An error of the job's own, of a class that no built-in knows."""


@job
def fail(text: str) -> None:
    raise Refusal(text)


@job
async def fail_async(text: str) -> None:
    raise Refusal(text)


@job
def leave_by_exit() -> None:
    sys.exit(3)


@job
async def leave_by_exit_async() -> None:
    sys.exit(3)


@job
def opaque() -> object:
    return object()


@job
async def opaque_async() -> object:
    return object()


@job
def hold(fifo: str) -> str:
    _say(fifo)
    released.wait()
    return "released"


@job
async def hold_async(fifo: str) -> None:
    await to_thread.run_sync(_say, fifo)
    try:
        await anyio.sleep_forever()
    finally:
        ended.append(fifo)


@job
def relay(begun: str, source: str) -> str:
    _say(begun)
    return Path(source).read_text()


@job
def pass_gate(gate: str) -> str:
    """Return once nobody has the file *gate* locked for himself alone."""
    with Path(gate).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    return "passed"


@job
def start_a_child_and_hold(fifo: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    Path(fifo).write_text(f"{os.getpid()} {child.pid}")
    released.wait()


@job
def vanish(status: int) -> None:
    os._exit(status)


@job
def kill_itself(number: int) -> None:
    os.kill(os.getpid(), number)
    threading.Event().wait()


@job
def pid() -> int:
    return os.getpid()


@job
def grow(size: int) -> int:
    return len(bytearray(size))


@job
def chatter() -> str:
    print("not a frame", flush=True)
    return sys.stdin.read()


def _seen(me: QueuedJob) -> dict[str, Any]:
    remaining = me.time_remaining
    me.checkpoint()
    return {
        "fields": {a.name: str(getattr(me, a.name)) for a in attrs.fields(QueuedJob)},
        "time": remaining,
    }


@job
def look(x: int, *, me: QueuedJob = INJECTED) -> dict[str, Any]:
    return _seen(me)


@job
async def look_async(x: int, *, me: "QueuedJob" = INJECTED) -> dict[str, Any]:
    return _seen(me)


def _note(me: QueuedJob, key: str, then: str) -> None:
    if then != "nothing":
        me.meta.setdefault("list", []).append(key)
    if then == "fail":
        raise Refusal(key)
    if then == "time":
        raise TimeLimitExceeded("I took too long")
    if then == "nonsense":
        me.meta["nonsense"] = object()


@job
def note(key: str, then: str = "", *, me: QueuedJob = INJECTED) -> None:
    _note(me, key, then)


@job
async def note_async(key: str, then: str = "", *, me: QueuedJob = INJECTED) -> None:
    _note(me, key, then)


@job
async def note_and_hold(key: str, *, me: QueuedJob = INJECTED) -> None:
    me.meta["key"] = key
    await anyio.sleep_forever()


class _Records(logging.Handler):
    """Keeps what a logger is told."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []
        self.setFormatter(logging.Formatter("%(job_id)s %(queue)s %(func)s %(attempt)d"))

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)

    def __enter__(self) -> list[str]:
        logging.getLogger("acme.library").addHandler(self)
        self.lines: list[str] = []
        return self.lines

    def __exit__(self, *exc: object) -> None:
        logging.getLogger("acme.library").removeHandler(self)
        self.lines += [self.format(record) for record in self.kept]


def _log() -> None:
    logging.getLogger("acme.library").warning("a library's, which knows nothing of jobs")


@job
def log() -> list[str]:
    """Return what a library's records say that it is told to make here, and in another thread."""
    with _Records() as lines:
        _log()
        thread = threading.Thread(target=contextvars.copy_context().run, args=(_log,))
        thread.start()
        thread.join()
    return lines


@job
async def log_async() -> list[str]:
    with _Records() as lines:
        _log()
        await anyio.sleep(0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(to_thread.run_sync, _log)
    return lines
