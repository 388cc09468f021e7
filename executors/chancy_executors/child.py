"""The other end of the pipe: a child process that performs calls, one after the other.

It ends when its parent does, however that ends: a thread reads the pipe, and sees it close even
while a job runs.
"""

import importlib
import json
import os
import queue
import resource
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
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(source, calls), daemon=True).start()

    setup = json.loads(calls.get())
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
        _send(sink, serve(calls.get()))


def _set_up_django() -> None:
    """Do what must be done before Django's models can be imported, in a program that has some."""
    if os.environ.get("DJANGO_SETTINGS_MODULE"):
        importlib.import_module("django").setup()


def _listen(source: BinaryIO, calls: "queue.SimpleQueue[bytes]") -> None:
    while True:
        head = source.read(4)
        body = source.read(int.from_bytes(head, "big"))
        if len(head) < 4 or len(body) < int.from_bytes(head, "big"):
            os._exit(0)  # the parent is gone or lets us go: whatever runs here has no reader
        calls.put(body)


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
