"""What can befall a task or a thread of a worker, from within its process.

`befall` is called by `member` before the worker starts, and makes the one that is named die once,
*after* so many seconds: by an error, by returning, or by a cancellation that nobody asked for.
"""

import ctypes
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import anyio

from chancy import Worker
from chancy_core import assign, claim, holding, notify, report, settle, wake, watchdog
from chancy_core.health import file, http
from chancy_core.hint import Hint
from chancy_core.hookspecs import hookimpl
from chancy_core.host import Service
from chancy_core.plugins import observing
from chancy_core.postgres import pool
from tests.faults.record import say

#: The tasks of which a worker dies, as its log names them: whose method each is.
TASKS: dict[str, tuple[type, str]] = {
    "settle": (settle.Settler, "run"),
    "watch": (watchdog.Watchdog, "run"),
    "observe": (observing.Observers, "run"),
    "claim": (claim.Claimer, "claim"),
    "audit": (holding.Holding, "audit"),
    "watch the lease": (holding.Holding, "watch_lease"),
    "report": (report.Report, "run"),
    "keep the lanes": (assign.Lanes, "keep"),
    "promote": (wake.Waker, "promote"),
    "keep the partitions": (wake.Waker, "keep_partitions"),
    "listen": (wake.Waker, "listen"),
    "answer probes": (http.Probes, "run"),
    "write its health": (file.Record, "run"),
}
#: The threads of which it dies: what its log says then.
THREADS = {"chancy-heartbeat": "its heartbeat has died", "chancy-watchdog": "thread has ended"}
#: What goes on after it: what the log says.
LASTING = {
    "notifier": "hints were lost",
    "pool": "the pool could not look after its connections",
    "observer": "chancy_jobs_settled",
    "service": "its service 'ailing'",
}
#: How one can die.
WAYS = ("error", "return", "cancellation")


class Ailment(Exception):
    """What a task dies of."""


class Onlooker:
    """A plugin with an observer and a service, either of which may be made ill."""

    strikes: Callable[[str], None] = staticmethod(lambda _: None)

    @hookimpl
    async def chancy_jobs_settled(self) -> None:
        self.strikes("observer")

    @hookimpl
    def chancy_worker_services(self, worker: Any) -> Iterable[Service]:
        async def ail() -> None:
            while True:
                await anyio.sleep(0.1)
                worker.chancy.hint(Hint("pushed", "q"))  # so that the notifier has work
                self.strikes("service")

        return [Service("ailing", ail)]


onlooker = Onlooker()


def befall(_: Worker, options: dict[str, Any]) -> None:
    """Make what the options name die, and say in the record when it does."""
    name, how, after = options["dies"], options["how"], options["after"]
    ill_at = time.monotonic() + after
    said: list[str] = []

    def dies() -> None:
        said.append(name)
        say(options["record"], "dies", what=name, how=how)
        if how == "error":
            raise Ailment
        if how == "cancellation":
            raise anyio.get_cancelled_exc_class()

    def strikes(who: str) -> None:
        if who == name and not said and time.monotonic() > ill_at:
            dies()

    onlooker.strikes = strikes  # type: ignore[method-assign]
    if name in TASKS:
        owner, method = TASKS[name]
        setattr(owner, method, _ill(getattr(owner, method), after, dies))
    elif name in THREADS:
        threading.Thread(target=_end, args=[name, after, dies], daemon=True).start()
    elif name == "notifier":
        make = notify.statements.notify
        notify.statements.notify = lambda *args, **told: (strikes(name), make(*args, **told))[1]  # type: ignore[func-returns-value]
    elif name == "pool":
        age = pool.Pool.age
        pool.Pool.age = lambda self: (strikes(name), age(self))[1]  # type: ignore[method-assign, func-returns-value]


def _ill(run: Any, after: float, dies: Callable[[], None]) -> Any:
    async def ill(*args: Any) -> None:
        with anyio.move_on_after(after):
            await run(*args)
        dies()

    return ill


def _end(name: str, after: float, dies: Callable[[], None]) -> None:
    """Raise what no thread catches, in the thread of that name."""
    time.sleep(after)
    while not (found := [thread for thread in threading.enumerate() if thread.name == name]):
        time.sleep(0.1)
    (thread,) = found
    dies()
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit)
    )
