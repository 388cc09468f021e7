"""What is installed and comes in by name: the executors of queues, and whoever knows more tags.

An executor is looked at when a queue is declared, and opened when it is run. Tag providers are
asked when a worker starts.
"""

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from anyio import to_thread
from anyio.lowlevel import current_token

from chancy_core import codec, discovery, registry
from chancy_core.errors import ChancyError, InvalidQueue, InvalidValue, OfferError
from chancy_core.executor import Executor, ExecutorHost
from chancy_core.queue import Queue
from chancy_core.tags import check_tags

log = logging.getLogger("chancy.worker")

#: Seconds that all tag providers together may take, side by side.
PATIENCE = 5.0
#: The most tags that one of them may have.
MOST_TAGS = 1000


def find_executor(queue: Queue) -> tuple[type[Executor], Any]:
    """Return the executor that a queue names, and the options that the queue has for it.

    Raises `UnknownName`, which lists what is installed, or `BrokenOffer`; `InvalidValue` if the
    options do not fit.
    """
    made: type[Executor] = discovery.load("chancy.executors", queue.executor)
    what = f"queue {queue.name!r}: executor_options"
    return made, codec.structured(what, queue.executor_options, made.Options)


def check_queue(queue: Queue) -> None:
    """See that a queue can be run as it is declared here; may take a while.

    Raises what `find_executor` does, and `InvalidQueue` for what its executor finds wrong by
    `Executor.check`.
    """
    made, options = find_executor(queue)
    try:
        made.check(options, registry.sources())
    except InvalidValue as exc:
        raise InvalidQueue(f"queue {queue.name!r}: {exc}") from exc


async def check_queue_aside(queue: Queue) -> None:
    """Do the same, in a thread if the executor has a check of its own."""
    made, _ = find_executor(queue)
    if any("check" in vars(kind) for kind in made.__mro__ if kind is not Executor):
        await to_thread.run_sync(check_queue, queue)


def open_executor(queue: Queue, plugins: Sequence[tuple[str, str, str]] = ()) -> Executor:
    """Make the executor of a queue, for one `async with`. Raises what `find_executor` does.

    *plugins* are those that it needs beside the functions, where it runs them elsewhere.
    """
    made, options = find_executor(queue)
    concurrency = queue.concurrency or made.default_concurrency
    return made(options, concurrency, ExecutorHost(registry.sources(), backend_name(), plugins))


def remote(queues: Iterable[Queue]) -> list[str]:
    """Return the names of those queues whose jobs outlive their worker.

    One whose executor is not installed here, or cannot be loaded, is taken for one like most.
    """
    return [queue.name for queue in queues if _is_remote(queue)]


def _is_remote(queue: Queue) -> bool:
    try:
        made, options = find_executor(queue)
        return made.outlives_worker(options)
    except ChancyError as exc:
        log.debug("jobs of queue %r are taken for such as end with their worker: %s", queue, exc)
        return False


def backend_name() -> str:
    """Return the kind of event loop that runs here, as `anyio.run` names it."""
    return current_token().backend_class.__module__.rpartition("._")[2]


async def provided_tags(worker: str) -> frozenset[str]:
    """Return what the installed tag providers know of this machine, for the worker of that name.

    One that fails, or takes longer than 5 seconds, is logged with its distribution and left out.
    """
    return await to_thread.run_sync(_ask_all, worker, abandon_on_cancel=True)


def _ask_all(worker: str) -> frozenset[str]:
    """Ask each provider in a thread of its own: who hangs must hold up neither us nor the exit."""
    answers: dict[str, frozenset[str]] = {}
    asked = {
        name: f"{name!r} of {' and '.join(map(discovery.distribution, entries))}"
        for name, entries in discovery.offers("chancy.tags").items()
    }
    threads = {
        name: threading.Thread(target=partial(_ask, name, who, worker, answers), daemon=True)
        for name, who in asked.items()
    }
    for thread in threads.values():
        thread.start()
    until = time.monotonic() + PATIENCE
    for name, thread in threads.items():
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            problem = f"it has not answered in {PATIENCE:g} seconds"
            log.error("worker %s starts without the tags of %s: %s", worker, asked[name], problem)
    return frozenset().union(*(answers.get(name, ()) for name in asked))


def _ask(name: str, who: str, worker: str, answers: dict[str, frozenset[str]]) -> None:
    try:
        answers[name] = _checked(discovery.load("chancy.tags", name)(), worker)
    except OfferError as exc:  # broken, or taken: there is nothing to be traced
        log.error("worker %s starts without the tags of %s: %s", worker, who, exc)
    except BaseException:  # whatever it is, it is no reason to stay at home
        log.exception("worker %s starts without the tags of %s", worker, who)


def _checked(told: Any, worker: str) -> frozenset[str]:
    if isinstance(told, Iterable) and not isinstance(told, str):
        told = list(islice(told, MOST_TAGS + 1))  # of what may have no end
        if len(told) > MOST_TAGS:
            raise InvalidValue(f"a tag provider has at most {MOST_TAGS:,} tags")
    return check_tags(told, worker)
