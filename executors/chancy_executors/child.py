"""The other end of the pipe: a child process that performs calls, one after the other.

It ends when its parent does, however that ends: a thread waits for the end of the pipe, and sees it
even while a job runs. What arrives is read by who runs the jobs: to hand it over from a thread to
another would cost more than all else here.
"""

import faulthandler
import importlib
import inspect
import json
import logging
import os
import resource
import select
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO

from chancy_core import beside, codec, registry
from chancy_core.errors import ChancyError
from chancy_core.executor import Capability
from chancy_core.perform import perform
from chancy_core.progress import Progress
from chancy_executors import records
from chancy_executors.frames import ANSWER, LAST, PROGRESS, RECORD, framed
from chancy_executors.pace import Paced

#: What our end of the pipe holds back at most, in bytes: more than a log record has, so that one
#: whose sending is cut short, by what a job does on a signal, is sent as a whole all the same.
_BUFFER = 262_144
#: The initializer that need not be a function of the worker's own.
_DJANGO = "django:setup"
_STATM = Path("/proc/self/statm")


def main() -> None:
    """Serve the parent until the pipe closes."""
    source, sink = _take_pipe()
    threading.Thread(target=_leave_with_parent, args=(source.fileno(),), daemon=True).start()
    faulthandler.enable()  # the last words of a child that crashes
    sender = records.Sender(partial(_send, sink, RECORD))
    logging.root.addHandler(sender)
    os.register_at_fork(after_in_child=partial(logging.root.removeHandler, sender))

    setup = json.loads(_receive(source))
    hooks = beside.NOBODY
    try:
        hooks = _load(setup)
    except BaseException as exc:  # noqa: BLE001 - told to the parent, which ends us
        _send(sink, ANSWER, codec.clean(f"{type(exc).__name__}: {exc}", 1000).encode())
    else:
        _send(sink, ANSWER, b"")
    progress = Paced[Progress](lambda told: _send(sink, PROGRESS, told.text().encode()))
    serve = partial(
        perform,
        capabilities=Capability(setup["capabilities"]),
        backend=setup["backend"],
        limited=limited_memory,
        hooks=hooks,
        hears=progress.tell,
    )
    span = Span(setup["max_jobs"], setup["max_memory"])
    while True:
        answer = serve(_receive(source))
        progress.forget()  # the answer has it, in the job's meta
        with suppress(Exception):  # whatever a job has put in their places
            sys.stdout.flush()
            sys.stderr.flush()
        _send(sink, LAST if span.is_over() else ANSWER, answer)


def _take_pipe() -> tuple[BinaryIO, BinaryIO]:
    """Take the pipe for ourselves: what a job reads or prints must not be taken for a frame.

    A process that a job forks does not have it: its parent waits for the pipe's end.
    """
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb", _BUFFER)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a job that is killed has printed it

    def forked() -> None:
        for file in (source, sink):
            os.dup2(nowhere, file.fileno(), inheritable=False)

    os.register_at_fork(after_in_child=forked)
    return source, sink


def _load(setup: Mapping[str, Any]) -> beside.Beside:
    """Load all that a call may need; return the plugins."""
    records.take_levels(setup["levels"])
    initializer, sources = setup["initializer"], setup["sources"]
    if initializer == _DJANGO or os.environ.get("DJANGO_SETTINGS_MODULE"):
        # Before Django's models can be imported.
        importlib.import_module("django").setup()
    if initializer not in {None, _DJANGO}:
        _initialize(initializer, sources)
    registry.load_sources(sources)
    return beside.loaded(setup["plugins"])


def _initialize(path: str, sources: Sequence[tuple[str, str | None]]) -> None:
    """Call a function of the worker's own code: what a queue's row says may name no other."""
    module, _, name = path.partition(":")
    own = [source for source in sources if source[0] == module]
    if not own:
        raise ChancyError(
            f"initializer {path!r}: this worker loads no jobs from {module!r}; name it in "
            "Chancy(..., jobs=[...])"
        )
    registry.load_sources(own)
    func = getattr(sys.modules[module], name, None)
    if (
        not inspect.isfunction(func)
        or func.__module__ != module
        or inspect.iscoroutinefunction(func)
    ):
        raise ChancyError(f"initializer {path!r}: {name!r} is no plain function of that module")
    func()


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


def _send(sink: BinaryIO, kind: int, body: bytes) -> None:
    """Send a frame as a whole, whichever thread sends: the file has a lock of its own for that."""
    try:
        sink.write(framed(kind, body))
        sink.flush()
    except BrokenPipeError:
        os._exit(0)  # the parent is gone: nobody waits for the answer


class Span:
    """How long this process serves: for so many jobs, and until they have left so much memory."""

    def __init__(self, jobs: int | None, memory: int | None) -> None:
        self._jobs = jobs
        self._memory = memory
        self._statm = _STATM.open("rb", buffering=0) if memory and _STATM.exists() else None

    def is_over(self) -> bool:
        """Count a job that has ended, and say whether it was the last."""
        if self._jobs is not None:
            self._jobs -= 1
        return self._jobs == 0 or (self._memory is not None and self._resident() > self._memory)

    def _resident(self) -> int:
        """Return the bytes of memory that this process has; without `/proc`, the most it ever had.

        Of that macOS counts bytes, and others count kilobytes.
        """
        if self._statm is not None:
            pages = os.pread(self._statm.fileno(), 100, 0).split()[1]
            return int(pages) * resource.getpagesize()
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


@contextmanager
def limited_memory(limit: float | None) -> Iterator[None]:
    """Hold the process to *limit* bytes of address space more than it has now (Linux)."""
    if limit is None or not _STATM.exists():
        yield
        return
    now = int(_STATM.read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = now + int(limit)
    resource.setrlimit(
        resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
