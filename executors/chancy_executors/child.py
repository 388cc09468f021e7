"""The other end of the pipe: a child process that performs calls, one after the other.

It ends when its parent does, however that ends: a thread waits for the end of the pipe, and sees it
even while a job runs. What arrives is read by who runs the jobs: to hand it over from a thread to
another would cost more than all else here.
"""

import importlib
import json
import os
import resource
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from chancy_core import beside, codec, registry
from chancy_core.executor import Capability
from chancy_core.perform import perform


def main() -> None:
    """Serve the parent until the pipe closes."""
    # The pipe is ours alone: what a job reads or prints must not be taken for a frame.
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    threading.Thread(target=_leave_with_parent, args=(source.fileno(),), daemon=True).start()

    setup = json.loads(_receive(source))
    hooks = beside.NOBODY
    try:
        _set_up_django()
        registry.load_sources(setup["sources"])
        hooks = beside.loaded(setup["plugins"])
    except BaseException as exc:  # noqa: BLE001 - told to the parent, which ends us
        _send(sink, codec.clean(f"{type(exc).__name__}: {exc}", 1000).encode())
    else:
        _send(sink, b"")
    serve = partial(
        perform,
        capabilities=Capability(setup["capabilities"]),
        backend=setup["backend"],
        limited=limited_memory,
        hooks=hooks,
    )
    while True:
        _send(sink, serve(_receive(source)))


def _set_up_django() -> None:
    """Do what must be done before Django's models can be imported, in a program that has some."""
    if os.environ.get("DJANGO_SETTINGS_MODULE"):
        importlib.import_module("django").setup()


def _leave_with_parent(pipe: int) -> None:
    """End this process when the other end of its pipe is closed: whatever runs has no reader."""
    end = select.poll()
    end.register(pipe, 0)  # of what arrives it is not told: only of the end
    end.poll()
    os._exit(0)


def _receive(source: BinaryIO) -> bytes:
    head = source.read(4)
    body = source.read(int.from_bytes(head, "big"))
    if len(head) < 4 or len(body) < int.from_bytes(head, "big"):
        os._exit(0)  # the parent is gone or lets us go
    return body


def _send(sink: BinaryIO, answer: bytes) -> None:
    try:
        sink.write(len(answer).to_bytes(4, "big") + answer)
        sink.flush()
    except BrokenPipeError:
        os._exit(0)  # the parent is gone: nobody waits for the answer


@contextmanager
def limited_memory(limit: float | None) -> Iterator[None]:
    """Hold the process to *limit* bytes of address space more than it has now (Linux)."""
    statm = Path("/proc/self/statm")
    if limit is None or not statm.exists():
        yield
        return
    now = int(statm.read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = now + int(limit)
    resource.setrlimit(
        resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
