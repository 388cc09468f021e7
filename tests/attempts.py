"""Attempts at jobs of `tests.jobs`, made without a database."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

from anyio import to_thread

from chancy import Chancy, Limit, QueuedJob, State, Worker
from chancy_core import codec, discovery
from chancy_core.executor import Executor, ExecutorHost
from chancy_core.hooks import Plugin
from chancy_core.plugins import Plugins, WorkerPlugins
from chancy_core.run import Attempt
from chancy_core.store.rows import Claimed
from tests import jobs


@asynccontextmanager
async def opened(
    name: str,
    backend: str,
    source: str = jobs.__name__,
    plugins: WorkerPlugins | None = None,
    **options: Any,
) -> AsyncIterator[Executor]:
    made = discovery.load("chancy.executors", name)
    paths = plugins.beside.paths if plugins else ()
    host = ExecutorHost([(source, None)], backend, paths)
    async with made(made.Options(**options), 8, host) as executor:
        yield executor


def plugged(*modules: ModuleType) -> WorkerPlugins:
    """Return these plugins and no others, as a worker has them."""
    chancy = Chancy("host=nowhere")
    plugins = Plugins(chancy)
    for module in modules:
        plugins.register(Plugin(module.__name__, "the tests", module, module.__name__))
    return WorkerPlugins(plugins, Worker(chancy))


def unplugged() -> WorkerPlugins:
    """Return no plugins at all, as a worker has them."""
    return plugged()


def running(func: str, *limits: Limit, **kwargs: Any) -> QueuedJob:
    """Return a job as it is while it runs: of `tests.jobs`, unless *func* names another module."""
    text = codec.encode(kwargs, "arguments")
    return QueuedJob(
        func if "." in func else f"tests.jobs.{func}",
        kwargs=codec.decode(text),
        limits=limits,
        id=uuid4(),
        state=State.RUNNING,
        created_at=datetime.now(UTC),
        max_attempts=3,
    )


def attempt(func: str, *limits: Limit, **kwargs: Any) -> Attempt:
    text = codec.encode(kwargs, "arguments")
    return Attempt(Claimed(running(func, *limits, **kwargs), text, 1))


def fifo(folder: Path, name: str = "begun") -> Path:
    os.mkfifo(folder / name)
    return folder / name


async def read(path: Path) -> str:
    """Return what a job writes into a fifo, once it does."""
    return await to_thread.run_sync(path.read_text)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
