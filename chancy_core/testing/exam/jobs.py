"""The functions that the exam has run: plain ones, and for each a twin that is a coroutine."""

import os
import socket
import sys
import threading
from datetime import datetime, timedelta
from typing import Any

import anyio

from chancy_core.errors import Snooze
from chancy_core.function import INJECTED
from chancy_core.job import QueuedJob
from chancy_core.registry import job

HOST = "127.0.0.1"


class Refusal(Exception):
    """An error that only this module knows."""


class Stubborn(Exception):
    """An error that can be neither pickled nor made from its text."""

    def __init__(self, *, lock: Any) -> None:
        super().__init__("not to be pickled")
        self.lock = lock


@job
def echo(value: Any) -> Any:
    """Return the argument."""
    return value


@job
async def echo_async(value: Any) -> Any:
    """Let others run, and return the argument."""
    await anyio.sleep(0)
    return value


@job
def tomorrow(when: datetime) -> datetime:
    """Return the same time of the next day: neither is plain JSON."""
    return when + timedelta(days=1)


@job
async def tomorrow_async(when: datetime) -> datetime:
    """Return the same time of the next day."""
    return when + timedelta(days=1)


def _known(me: QueuedJob) -> dict[str, Any]:
    me.meta["seen"] = True
    return {"id": str(me.id), "time": me.time_remaining}


@job
def known(*, me: QueuedJob = INJECTED) -> dict[str, Any]:
    """Return what it knows of its own job, and change that job's meta."""
    return _known(me)


@job
async def known_async(*, me: QueuedJob = INJECTED) -> dict[str, Any]:
    """Return what it knows of its own job, and change that job's meta."""
    return _known(me)


def _fail(how: str) -> None:
    if how == "exit":
        sys.exit("no way")
    if how == "snooze":
        raise Snooze(7)
    raise Refusal("no way") if how == "refuse" else Stubborn(lock=threading.Lock())


@job
def fail(how: str) -> None:
    """Raise one of several errors."""
    _fail(how)


@job
async def fail_async(how: str) -> None:
    """Raise one of several errors."""
    _fail(how)


@job
def hold(port: int, name: str, patience: float) -> str:
    """Report to the stage, wait for what it says, and return that; nothing else ends it.

    After *patience* seconds it gives up, so that whoever waits for it is not held up for ever.
    """
    with socket.create_connection((HOST, port), timeout=patience) as stage:
        stage.sendall(name.encode())
        return stage.recv(1000).decode()


@job
async def hold_async(port: int, name: str, patience: float) -> str:
    """Report to the stage, wait for what it says, and return that."""
    with anyio.fail_after(patience):
        async with await anyio.connect_tcp(HOST, port) as stage:
            await stage.send(name.encode())
            return (await stage.receive()).decode()


def _vanish(examiner: int) -> None:
    if os.getpid() == examiner:
        raise Refusal("this function was to end its process, which is the executor's own")
    os._exit(3)


@job
def vanish(examiner: int) -> None:
    """End the process that it runs in, unless that is the examiner's."""
    _vanish(examiner)


@job
async def vanish_async(examiner: int) -> None:
    """End the process that it runs in, unless that is the examiner's."""
    _vanish(examiner)


@job
def grow(size: int) -> int:
    """Take so many bytes."""
    return len(bytearray(size))


@job
async def grow_async(size: int) -> int:
    """Take so many bytes."""
    return len(bytearray(size))
