"""The job functions of the tests; child processes import them from here, as `tests.jobs`."""

import contextvars
import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import attrs
from anyio import to_thread

from chancy import INJECTED, QueuedJob, RetryAfter, Snooze, job
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


class Throttled(Refusal):
    """An error of somebody else's, which says for how long to wait."""

    def __init__(self, retry_after: Any) -> None:
        super().__init__("too many requests")
        self.retry_after = retry_after


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
def advance(file: str, *, me: QueuedJob = INJECTED) -> None:
    """Say how far it has come, and go on when the file is there."""
    for done in range(1000):
        me.progress(done, of=1000)
    me.progress(1, of=2, note="half")
    while not Path(file).exists():
        time.sleep(0.01)
    me.progress(2, of=2)


@job
async def advance_async(file: str, *, me: QueuedJob = INJECTED) -> None:
    me.progress(1, of=2, note="half")
    while not Path(file).exists():
        await anyio.sleep(0.01)
    me.progress(2, of=2)


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


#: What a job can raise to be put off.
ASKING = {"retry_after": RetryAfter, "attribute": Throttled, "snooze": Snooze}


def _put_off(me: QueuedJob, how: str, seconds: float, times: int) -> dict[str, Any]:
    if me.claims <= times:
        me.meta["said"] = how
        raise ASKING[how](seconds)
    return {"attempts": me.attempts, "errors": len(me.errors), "meta": dict(me.meta)}


@job
def put_off(
    how: str, seconds: float, times: int = 1, *, me: QueuedJob = INJECTED
) -> dict[str, Any]:
    return _put_off(me, how, seconds, times)


@job
async def put_off_async(
    how: str, seconds: float, times: int = 1, *, me: QueuedJob = INJECTED
) -> dict[str, Any]:
    await anyio.sleep(0)
    return _put_off(me, how, seconds, times)


library = logging.getLogger("acme.library")


class _Library(logging.Handler):
    """A library that logs, and knows nothing of jobs: *said* is what its records say of them."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.setFormatter(logging.Formatter("%(job_id)s %(queue)s %(func)s %(attempt)d"))
        library.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.args == (self,):  # not what another job logs meanwhile
            self.said.append(self.format(record))

    def log(self) -> None:
        library.warning("logged by %s", self)


@job
def log() -> list[str]:
    """Return what records say that are made here, and in another thread."""
    used = _Library()
    used.log()
    thread = threading.Thread(target=contextvars.copy_context().run, args=(used.log,))
    thread.start()
    thread.join()
    library.removeHandler(used)
    return used.said


@job
async def log_async() -> list[str]:
    used = _Library()
    used.log()
    await anyio.sleep(0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(to_thread.run_sync, used.log)
    library.removeHandler(used)
    return used.said


@job
def stay_while(path: str) -> None:
    """Make a file, and go on until it is taken away."""
    Path(path).touch()
    while Path(path).exists():
        time.sleep(0.01)
