"""A worker that may be attacked, and the jobs that tell the record what they do.

Started by the nursery, in a process of its own: `work(options)` returns when the worker stops.
"""

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import psycopg

from chancy import INJECTED, Chancy, Job, QueuedJob, Worker, job
from tests.faults.record import say

#: Who holds the jobs of this process: it itself, if it is a worker, or the worker that made it.
_holder: list[int] = []
#: The application of the worker that runs in this process.
_chancy: list[Chancy] = []


def _told(me: QueuedJob) -> dict[str, Any]:
    holder = _holder[0] if _holder else os.getppid()
    return {"job": me.id, "lease": me.lease_id, "claims": me.claims, "holder": holder}


@contextmanager
def recorded(to: str, label: str, me: QueuedJob, **what: Any) -> Iterator[None]:
    """Say when a job begins, and how it ends."""
    say(to, "begin", label=label, **_told(me), **what)
    how = "cancelled"
    try:
        yield
        how = "ok"
    except Exception:
        how = "error"
        raise
    finally:
        say(to, "end", label=label, how=how, **_told(me), **what)


@job(name="faults.work", queue="q")
async def work(to: str, label: str, seconds: float = 0.0, *, me: QueuedJob = INJECTED) -> None:
    """Take so long."""
    with recorded(to, label, me):
        await anyio.sleep(seconds)


@job(name="faults.toil", queue="q")
def toil(to: str, label: str, seconds: float = 0.0, *, me: QueuedJob = INJECTED) -> None:
    """Take so long, for the executors of functions that block."""
    with recorded(to, label, me, deaf=True):
        time.sleep(seconds)


@job(name="faults.linger", queue="q")
async def linger(
    to: str, label: str, seconds: float, again: float = 0.0, *, me: QueuedJob = INJECTED
) -> None:
    """Take so long when it is first begun, and another time when it is begun again."""
    with recorded(to, label, me):
        await anyio.sleep(seconds if me.claims == 1 else again)


@job(name="faults.fail", queue="q")
async def fail(to: str, label: str, *, me: QueuedJob = INJECTED) -> None:
    """Fail at the first attempt."""
    with recorded(to, label, me):
        if me.attempts == 0:
            raise RuntimeError("the first attempt fails")


@job(name="faults.effect", queue="q")
def effect(to: str, label: str, *, me: QueuedJob = INJECTED) -> None:
    """Write that it was done, and complete, in one transaction."""
    chancy = _chancy[0]
    say(to, "begin", label=label, **_told(me))
    with psycopg.connect(chancy.conninfo) as conn:
        conn.execute("INSERT INTO effects VALUES (%s)", [me.id])
        # What comes of it is the database's word from here on, and may be written at once.
        say(to, "end", label=label, how="ok", **_told(me))
        chancy.complete_ex(conn, me)


@job(name="faults.block", queue="q")
async def block(to: str, label: str, seconds: float, *, me: QueuedJob = INJECTED) -> None:
    """Keep the event loop from turning for so long."""
    with recorded(to, label, me):
        time.sleep(seconds)


@job(name="faults.swallow", queue="q")
async def swallow(to: str, label: str, seconds: float, *, me: QueuedJob = INJECTED) -> None:
    """Take so long, and ignore that it is cancelled."""
    with recorded(to, label, me):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with suppress(BaseException):  # this is what it is for
                await anyio.sleep(0.05)


#: What ends a process; a recursion does where the stack is not watched.
LETHAL = ("exit", "segv", "kill", "recursion")


def _die(how: str) -> None:
    """End this process, in one of the ways that no `finally` hears of; or raise what is bad."""
    if how == "exit":
        os._exit(3)
    elif how == "segv":
        ctypes.string_at(0)
    elif how == "kill":
        os.kill(os.getpid(), 9)
    elif how == "memory":
        _fill(2**28)
    elif how.startswith("cgroup:"):
        Path(how.removeprefix("cgroup:"), "cgroup.procs").write_text(str(os.getpid()))
        _fill(2**33)
    elif how == "recursion":
        _dig()
    elif how == "nul":
        raise RuntimeError("before \x00 after \ud800")
    elif how == "unpicklable":
        raise _Unspeakable(open(os.devnull))  # noqa: SIM115, PTH123


def _fill(most: int) -> None:
    """Take memory, so many bytes at most, until there is none."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + most, hard))
    try:
        held = [bytes([1]) * 2**22 for _ in range(100_000)]
        raise AssertionError(len(held))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _dig(_: Any = None) -> None:
    """Recurse without a bound, by way of C, as far as the stack goes."""
    sys.setrecursionlimit(2**30)
    list(map(_dig, [None]))


class _Unspeakable(Exception):
    """An error that cannot be pickled, and whose text cannot be made."""

    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")

    def __str__(self) -> str:
        raise RuntimeError("cannot be said")


@contextmanager
def _bad(to: str, label: str, how: str, me: QueuedJob) -> Iterator[None]:
    """Say what comes: whom it harms will not say it."""
    with recorded(to, label, me):
        say(to, "end", label=label, how="harm", **_told(me))
        if os.getpid() in _holder and how in LETHAL:
            say(to, "killed", target=os.getpid(), by="a poison job")
        yield


@job(name="faults.poison", queue="q")
def poison(to: str, label: str, how: str, *, me: QueuedJob = INJECTED) -> None:
    """Harm the process that runs it."""
    with _bad(to, label, how, me):
        _die(how)


@job(name="faults.venom", queue="q")
async def venom(to: str, label: str, how: str, *, me: QueuedJob = INJECTED) -> None:
    """Harm the worker's own process."""
    with _bad(to, label, how, me):
        _die(how)


def be(options: dict[str, Any]) -> int:
    """Be the worker that these options describe, until it is told to stop; the exit status."""
    from tests.faults import beating

    _holder[:] = [os.getpid()]
    beating.to[:] = [options["record"]]
    from chancy_core import heartbeat

    if lease := options.get("lease"):
        heartbeat.LEASE, heartbeat.INTERVAL = lease, lease / 4
    try:
        anyio.run(_produce if "produces" in options else _work, options, backend=options["backend"])
    finally:
        say(options["record"], "gone")
    return 0


async def _produce(options: dict[str, Any]) -> None:
    """Push jobs for as long as it lasts, all of which want one of a few keys."""
    to, keys = options["record"], options["produces"]
    async with Chancy(options["dsn"]) as chancy:
        for n in count():
            label = f"{options['name']}-{n}"
            wanted = Job(
                "faults.linger",
                kwargs={"to": to, "label": label, "seconds": 0.05},
                queue="q",
                unique_key=f"key-{n * 7 % keys}",
            )
            say(to, "pushing", label=label)
            reference = await chancy.push(wanted)
            say(to, "acked", job=reference.id, label=label)
            await anyio.sleep(0.01)


async def _work(options: dict[str, Any]) -> None:
    known = options.get("chancy", {})
    async with Chancy(options["dsn"], **known) as chancy:
        _chancy[:] = [chancy]
        worker = Worker(
            chancy,
            name=options["name"],
            grace_period=options.get("grace", 5.0),
            queues=options.get("queues"),
            **options.get("health", {}),
        )
        say(options["record"], "worker", name=worker.name)
        for name in options.get("attacked_by", ()):  # what harms the worker from within
            _named(name)(worker, options)
        await worker.start()
    say(options["record"], "worker_left", name=worker.name)


def _named(name: str) -> Any:
    """What is called `module` or `module:name`."""
    from importlib import import_module

    module, _, attribute = name.partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found
