"""What runs within a sub-interpreter: it performs calls, one after the other, and hears its end.

Calls come in and answers go out by a socket, in the frames of `frames`. A second thread waits at
the end of a pipe, the leash: a word from there says that whatever runs is over.

This process is the worker's: nothing here may end it, or keep what it has not made itself.
"""

import importlib
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from chancy_core import beside, codec, registry
from chancy_core.errors import ChancyError
from chancy_core.executor import Call, Capability
from chancy_core.perform import perform
from chancy_core.progress import Progress
from chancy_executors import records
from chancy_executors.frames import ANSWER, PROGRESS, RECORD, framed
from chancy_executors.pace import Paced
from chancy_executors.work import Work

#: What Python says when a module in C was not written for sub-interpreters.
_REFUSAL = re.compile(r"module ([\w.]+) does not support loading in subinterpreters")
#: How many causes of an exception are looked at.
_CAUSES = 20


def main(line: int, leash: int) -> None:
    """Serve whoever has the other ends of the socket *line* and of the pipe *leash*."""
    _hide_handlers()
    wire = Wire(socket.socket(fileno=line))
    try:
        _serve(wire, leash)
    finally:
        wire.detach()


def _serve(wire: "Wire", leash: int) -> None:
    setup = json.loads(wire.receive() or b"null")
    if setup is None:
        return
    logging.root.addHandler(records.Sender(partial(wire.send, RECORD)))
    records.take_levels(setup["levels"])
    hooks = beside.NOBODY
    try:
        load(setup["sources"])
        hooks = beside.loaded(setup["plugins"])
    except BaseException as exc:  # noqa: BLE001 - told to the other end, which lets us go
        wire.send(ANSWER, problem(exc).encode())
    else:
        wire.send(ANSWER, b"")
    current = Current(setup["backend"])
    threading.Thread(target=current.heed, args=(leash,), name="chancy-leash").start()
    progress = Paced[Progress](lambda told: wire.send(PROGRESS, told.text().encode()))
    while message := wire.receive():
        answer = perform(
            message,
            Capability(setup["capabilities"]),
            setup["backend"],
            hooks=hooks,
            hears=progress.tell,
            calling=current.call,
        )
        progress.forget()  # the answer has it, in the job's meta
        with suppress(Exception):  # whatever a job has put in their places
            sys.stdout.flush()
            sys.stderr.flush()
        wire.send(ANSWER, answer)


def _hide_handlers() -> None:
    """Have nobody here ask who handles a signal, as event loops do: nobody here can.

    The answer would be an object of the main interpreter's. Both would count their references to
    it, each with a lock of its own, and miscount them.
    """
    signal.getsignal = lambda _: None  # type: ignore[assignment]


class Wire:
    """The way to the worker. Who has the other end may close it at any time."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._file = line.makefile("rb")
        self._lock = threading.Lock()

    def receive(self) -> bytes:
        """Wait for a message; there is none any more when the other end is closed."""
        with suppress(OSError):
            head = self._file.read(4)
            size = int.from_bytes(head, "big")
            body = self._file.read(size)
            if len(head) == 4 and len(body) == size:
                return body
        return b""

    def send(self, kind: int, body: bytes) -> None:
        """Send a frame as a whole, from whichever thread; what nobody takes is thrown away."""
        quietly = getattr(socket, "MSG_NOSIGNAL", 0)  # a signal would be one for the whole process
        with self._lock, suppress(OSError):
            self._line.sendall(framed(kind, body), quietly)

    def detach(self) -> None:
        """Leave the socket open: it belongs to who has made it."""
        self._file.close()
        self._line.detach()


class Current:
    """The call that is performed at this moment, for who hears that it is over."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._over = False
        self._now: tuple[Call, Work] | None = None

    def call(self, call: Call, func: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call the function in this thread; a coroutine function gets an event loop."""
        work = Work(call.job.func, func, arguments, self._backend)
        self._now = call, work
        if self._over:  # nobody waits any more
            return None
        try:
            return work.run()
        finally:
            self._now = None

    def heed(self, leash: int) -> None:
        """Wait for the word that it is over, and pass it on: to the job, and to its coroutine."""
        os.read(leash, 1)
        self._over = True
        if (now := self._now) is not None:
            call, work = now
            call.end()
            work.end()


def load(sources: Sequence[tuple[str, str | None]]) -> None:
    """Load the modules that register jobs. Raises whatever they raise."""
    if os.environ.get("DJANGO_SETTINGS_MODULE"):
        importlib.import_module("django").setup()  # before Django's models can be imported
    registry.load_sources([(module, path) for module, path in sources])


def check(sources: str) -> None:
    """Load jobs, and no more; *sources* is JSON. Raises `ChancyError`, which says what is wrong."""
    try:
        load(json.loads(sources))
    except BaseException as exc:
        raise ChancyError(problem(exc)) from exc


def problem(exc: BaseException) -> str:
    """Say why jobs cannot be loaded here: by the module that refuses, if one does."""
    cause: BaseException | None = exc
    for _ in range(_CAUSES):
        if cause is None:
            break
        refusal = _REFUSAL.search(str(cause))
        if refusal is not None:
            return (
                f"jobs cannot be loaded in a sub-interpreter: the module {refusal[1]} refuses to "
                "be loaded there; use the executor `process`"
            )
        cause = cause.__cause__ or cause.__context__
    said = codec.clean(f"{type(exc).__name__}: {codec.said(exc)}", 1000)
    return f"jobs cannot be loaded in a sub-interpreter: {said}"
