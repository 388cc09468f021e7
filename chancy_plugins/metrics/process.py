"""What this process has recorded: for itself, for each of its applications, by each worker."""

import threading
import weakref
from collections import deque
from weakref import WeakKeyDictionary

from chancy_core.host import Application, WorkerHost
from chancy_plugins.metrics.key import Key
from chancy_plugins.metrics.recorder import Recorder
from chancy_plugins.metrics.tally import Cell, Tally, merge

#: What belongs to no application in particular: the next who writes takes it.
here = Tally()

_workers: "WeakKeyDictionary[WorkerHost, Recorder]" = WeakKeyDictionary()
_apps: "WeakKeyDictionary[Application, Recorder]" = WeakKeyDictionary()
#: What workers that have stopped could not write.
_left: "WeakKeyDictionary[Application, list[Recorder]]" = WeakKeyDictionary()
#: Workers that have just gone, of these applications.
_dying: "deque[tuple[weakref.ref[Application], Recorder]]" = deque()
#: What workers that are gone have recorded, all together.
_gone = Tally()
_lock = threading.Lock()


def of_worker(worker: WorkerHost) -> Recorder:
    """Return what a worker has recorded."""
    with _lock:
        recorder = _workers.get(worker)
        if recorder is None:
            recorder = _workers[worker] = Recorder(worker.name)
            # One that is forgotten with something to write, as that of a test's `drain`, leaves it.
            # That may be in the middle of anything: so it is only noted.
            heir = (weakref.ref(worker.chancy), recorder)
            weakref.finalize(worker, _dying.append, heir).atexit = False
        return recorder


def _bury() -> None:
    while _dying:
        app, recorder = _dying.popleft()
        if not recorder.gone:
            _inherit(app(), recorder)


def _inherit(known: Application | None, recorder: Recorder) -> None:
    """Keep what a worker that is gone has recorded: among the totals, and to be written."""
    recorder.gone = True
    if known is not None and not recorder.idle:
        _left.setdefault(known, []).append(recorder)
    for key, cell in recorder.totals().items():
        _gone.put(key, cell)


def known(worker: WorkerHost) -> bool:
    """Whether somebody records what a worker does."""
    return worker in _workers


def of_app(app: Application) -> Recorder:
    """Return what was recorded for an application, by whoever is no worker."""
    with _lock:
        recorder = _apps.get(app)
        if recorder is None:
            recorder = _apps[app] = Recorder("")
        return recorder


def leave(worker: WorkerHost) -> None:
    """Keep what a worker that stops could not write, for the next of its application."""
    with _lock:
        recorder = _workers.pop(worker, None)
    if recorder is not None:
        _inherit(worker.chancy, recorder)


async def flush_left(app: Application) -> None:
    """Write what is left of workers that have stopped, and what was recorded by no worker."""
    _bury()
    for recorder in tuple(_left.get(app, ())):
        await recorder.flush(app, ended=True)
        _left[app].remove(recorder)
    if app in _apps and not _apps[app].idle:
        await _apps[app].flush(app)


def workers_of(app: Application) -> list[Recorder]:
    """Return what the workers of an application have recorded here."""
    with _lock:
        return [recorder for worker, recorder in _workers.items() if worker.chancy is app]


def totals() -> dict[Key, Cell]:
    """Return all that this process has ever recorded."""
    _bury()
    with _lock:
        recorders = [*_workers.values(), *_apps.values()]
    found = here.totals()
    merge(found, _gone.totals())
    for recorder in recorders:
        merge(found, recorder.totals())
    return found
