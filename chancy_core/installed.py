"""The installed executors, by name: looked at when a queue is declared, opened when it is run."""

from collections.abc import Sequence
from typing import Any

from anyio.lowlevel import current_token

from chancy_core import codec, discovery, registry
from chancy_core.executor import Executor, ExecutorHost
from chancy_core.queue import Queue


def find_executor(queue: Queue) -> tuple[type[Executor], Any]:
    """Return the executor that a queue names, and the options that the queue has for it.

    Raises `UnknownName`, which lists what is installed, or `BrokenOffer`; `InvalidValue` if the
    options do not fit.
    """
    made: type[Executor] = discovery.load("chancy.executors", queue.executor)
    what = f"queue {queue.name!r}: executor_options"
    return made, codec.structured(what, queue.executor_options, made.Options)


def open_executor(queue: Queue, plugins: Sequence[tuple[str, str, str]] = ()) -> Executor:
    """Make the executor of a queue, for one `async with`. Raises what `find_executor` does.

    *plugins* are those that it needs beside the functions, where it runs them elsewhere.
    """
    made, options = find_executor(queue)
    concurrency = queue.concurrency or made.default_concurrency
    return made(options, concurrency, ExecutorHost(registry.sources(), backend_name(), plugins))


def backend_name() -> str:
    """Return the kind of event loop that runs here, as `anyio.run` names it."""
    return current_token().backend_class.__module__.rpartition("._")[2]
