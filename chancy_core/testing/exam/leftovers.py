"""What a process has: its threads, its child processes and its open files, counted."""

import os
import subprocess
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import anyio
from anyio import CapacityLimiter, to_thread
from attrs import frozen

#: How many threads the event loop may have kept for later calls before anything is counted.
_SPARE = 16
#: Seconds between two looks at what takes a moment to go.
_PAUSE = 0.01


@frozen
class Inventory:
    """What this process has at one moment, each thing with what it is called."""

    threads: Mapping[Any, str]
    children: Mapping[Any, str]
    files: Mapping[Any, str]

    @classmethod
    def take(cls) -> Self:
        """Look what there is."""
        return cls({t: t.name for t in threading.enumerate()}, _children(), _files())

    def more_than(self, before: "Inventory") -> str:
        """Return, in words, what was not there *before*; nothing if all was."""
        kinds = {
            "thread": (self.threads, before.threads),
            "child process": (self.children, before.children),
            "open file": (self.files, before.files),
        }
        said = []
        for kind, (now, then) in kinds.items():
            names = [name for key, name in now.items() if key not in then]
            if names:
                shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
                said.append(f"{len(names)} more of kind {kind} ({shown})")
        return " and ".join(said)


async def left_beyond(before: Inventory, patience: float) -> str:
    """Return, in words, what there is beyond *before* when it has had time to go."""
    until = anyio.current_time() + patience
    while True:
        left = Inventory.take().more_than(before)
        if not left or anyio.current_time() >= until:
            return left
        await anyio.sleep(_PAUSE)


async def warm_up() -> None:
    """Have the loop start the threads that it keeps for later, so that they are there before."""
    limiter, all_there = CapacityLimiter(_SPARE), threading.Barrier(_SPARE, timeout=10)
    async with anyio.create_task_group() as tasks:
        for _ in range(_SPARE):
            tasks.start_soon(partial(to_thread.run_sync, all_there.wait, limiter=limiter))


def _children() -> dict[Any, str]:
    me = os.getpid()
    return {pid: f"{pid}: {command}" for pid, parent, command in _processes() if parent == me}


def _processes() -> list[tuple[int, int, str]]:
    """Return the number, the parent and the command of each process of this machine."""
    if not Path("/proc/self/stat").exists():
        return _told_processes()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            _, _, rest = (folder / "stat").read_text().rpartition(")")
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            )
        except OSError:
            continue  # it has ended
        state, parent = rest.split()[:2]
        ended = "ended, and not waited for"
        found.append((int(folder.name), int(parent), ended if state == "Z" else command[:100]))
    return found


def _told_processes() -> list[tuple[int, int, str]]:
    """Return the same where there is no `/proc`, as `ps` says it."""
    with subprocess.Popen(
        ["ps", "-axo", "pid=,ppid=,command="],  # noqa: S607 - wherever the system has it
        stdout=subprocess.PIPE,
        text=True,
    ) as ps:
        said, _ = ps.communicate()
    rows = (line.split(None, 2) for line in said.splitlines())
    return [
        (int(pid), int(parent), command[0][:100] if command else "")
        for pid, parent, *command in rows
        if int(pid) != ps.pid
    ]


def _files() -> dict[Any, str]:
    """Return the open file descriptors, each with what it leads to."""
    found = {}
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - numbers, and no paths
        try:
            os.fstat(int(name))
        except OSError:
            continue  # the listing's own
        try:
            target = os.readlink(f"/dev/fd/{name}")  # noqa: PTH115 - what it says, as it is
        except OSError:
            target = "?"
        found[name] = f"{name}: {target}"
    return found
