"""Jobs that print, log, leak and harm what runs them; child processes import them from here."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from chancy import Chancy, job

logger = logging.getLogger("acme.unruly")
#: What `leak` leaves behind, and how often `prepare` was called.
leaked: list[bytes] = []
prepared: list[int] = []


def prepare() -> None:
    """An initializer."""
    prepared.append(os.getpid())


def fail_to_prepare() -> None:
    print("said before it failed")
    raise RuntimeError("no way")


async def prepare_async() -> None:
    prepared.append(0)


def meet() -> None:
    """An initializer that says that it is there, in the folder `MEET`, and waits for a word."""
    folder = Path(os.environ["MEET"])
    (folder / f"{os.getpid()}.here").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)


@job
def preparations() -> int:
    return len(prepared)


@job
def echo(value: Any) -> Any:
    return value


@job
async def echo_async(value: Any) -> Any:
    from anyio.lowlevel import checkpoint  # a child that does without it is there the sooner

    for _ in range(3):
        await checkpoint()
    return value


@job
def who() -> int:
    return os.getpid()


@job
def leak(size: int) -> int:
    leaked.append(b"x" * size)
    return os.getpid()


@job
def variables(names: list[str]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}


@job
def open_chancy() -> None:
    Chancy().sync_migrate()


# -- what prints -----------------------------------------------------------------------------------


def _print(text: str) -> None:
    print(f"{text} to stdout")
    print(f"{text} to stderr", file=sys.stderr)
    os.write(1, f"{text} by its number\n".encode())
    words = f"echo {text} by a program; echo and by its stderr >&2"
    subprocess.run(["/bin/sh", "-c", words], check=True)
    print(f"{text} without an end", end="")


@job
def print_and(text: str, how: str = "return") -> str:
    """Print in all ways, and then end in one."""
    _print(text)
    if how == "raise":
        raise RuntimeError("raised")
    if how == "exit":
        sys.stdout.flush()
        os._exit(3)
    if how == "hold":
        threading.Event().wait()
    return text


@job
def print_much(size: int) -> None:
    sys.stdout.write("a" * size + "THE END")
    raise RuntimeError("raised")


@job
def crash() -> None:
    ctypes.string_at(0)


@job
def close_outputs() -> str:
    sys.stdout.close()
    os.close(1)
    os.close(2)
    return "closed"


@job
def start_a_program(seconds: int, how: str = "return") -> int:
    """Leave a program behind that has our outputs, in a session of its own."""
    left = subprocess.Popen(["/bin/sleep", str(seconds)], start_new_session=True)
    if how == "exit":
        os._exit(3)
    return left.pid


@job
def fork(seconds: int, told: str) -> None:
    """Leave a copy of this process behind, and end."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        logger.warning("logged by the copy")
        time.sleep(seconds)
        os._exit(0)
    Path(told).write_text(str(pid))
    os._exit(3)


@job
def fork_and_return() -> str:
    """Both return from here, and only one of them is listened to."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return "the parent" if pid else "the copy"


# -- what logs -------------------------------------------------------------------------------------


class Unprintable:
    """An object that crosses by its text alone."""

    def __str__(self) -> str:
        return "by its text"


def _go_wrong() -> None:
    raise ValueError("what went wrong")


@job
def log_all() -> None:
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, 35):
        logger.log(level, "%s at %d", Unprintable(), level)
    try:
        _go_wrong()
    except ValueError:
        logger.exception("it failed", extra={"tenant": 7, "thing": Unprintable()})


@job
def log_by_names(count: int) -> None:
    for number in range(count):
        logging.getLogger(f"acme.unruly.{number}").warning("hello")


@job
def log_much(count: int, size: int) -> None:
    for number in range(count):
        logger.warning("%d %s", number, "x" * size)


@job
def log_in_threads(threads: int, count: int, size: int) -> str:
    """Answer while others still log."""

    def log(name: int) -> None:
        for number in range(count):
            logger.warning("%d %d %s", name, number, "x" * size)

    for name in range(threads):
        threading.Thread(target=log, args=(name,)).start()
    return "y" * 500_000


class Cut(BaseException):
    """What a job may raise on a signal, wherever it is at that moment."""


@job
def log_on_a_signal(count: int) -> int:
    """Be cut short while records are being sent; return how often."""
    inside, cut = False, 0

    def handler(*_: object) -> None:
        logger.warning("from the handler")
        if inside:
            raise Cut

    def log(number: int) -> None:
        nonlocal inside
        inside = True
        signal.setitimer(signal.ITIMER_REAL, 0.0002)
        for _ in range(50):
            logger.warning("%d", number)
        inside = False

    signal.signal(signal.SIGALRM, handler)
    logging.raiseExceptions = False  # what cannot be sent within a sending is not complained of
    for number in range(count):
        try:
            log(number)
        except Cut:
            cut += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    logging.raiseExceptions = True
    return cut


class Taking(logging.Handler):
    """Takes what is an error, and not what is only a warning."""

    taken = 0

    def emit(self, record: logging.LogRecord) -> None:
        type(self).taken += 1


@job
def log_to_its_own() -> int:
    handler = Taking(logging.ERROR)
    taking = logging.getLogger("acme.taking")
    taking.addHandler(handler)
    taking.warning("it crosses")
    taking.error("it stays")
    taking.removeHandler(handler)
    return Taking.taken


@job
def log_where_nobody_listens() -> None:
    logging.getLogger("acme.alone").warning("hello")


# -- poison ----------------------------------------------------------------------------------------


class Stubborn(Exception):
    """An error that can be neither pickled nor made from its text."""

    def __init__(self, *, lock: Any) -> None:
        super().__init__("not to be pickled")
        self.lock = lock

    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


@job
def poison(how: str) -> None:
    """Harm the process that runs it; `deaf` is to be ended from outside."""
    if how == "exit":
        os._exit(3)
    if how == "segv":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()
    if how == "memory":
        _fill()
    if how == "recursion":
        _dig(0)
    if how == "unpicklable":
        raise Stubborn(lock=threading.Lock())
    _be_deaf()


def _fill() -> None:
    held = []
    while True:
        held.append(b"x" * 2**22)


def _dig(depth: int) -> int:
    return _dig(depth + 1) + 1


def _be_deaf() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            time.sleep(60)
        except BaseException:  # noqa: BLE001 - this is what it is for
            continue
