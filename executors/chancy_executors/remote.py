"""What a Dask worker does for us: it performs calls, with the code of its own environment.

What reaches it are names of functions of this module, strings and bytes; what it gives back is no
more than that.
"""

import importlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from chancy_core import beside, codec, registry
from chancy_core.executor import Call, Capability
from chancy_core.perform import perform
from chancy_executors.work import Work

_loading = threading.Lock()
#: How calls are performed here, by what their executor has said of them.
_ready: dict[bytes, Callable[..., bytes]] = {}
#: The functions that run in this process, by the keys of their tasks.
_running: dict[str, tuple[Call, Work]] = {}


def perform_call(setup: bytes, once: bool, key: str, message: bytes) -> bytes | str | None:
    """Perform the call in *message*, and return the answer.

    A string says why the jobs could not be loaded here; None, that this call must be begun *once*,
    and was, by a worker which died of it or during it.
    """
    try:
        serve = _prepared(setup)
    except BaseException as exc:  # noqa: BLE001 - told to whoever sent the call
        return codec.clean(f"{type(exc).__name__}: {exc}", 1000)
    if once and not _begins(key):
        return None
    return serve(message, calling=partial(_call, key, json.loads(setup)["backend"]))


def look(keys: Sequence[str], end: bool) -> dict[str, tuple[bool, str]]:
    """Say of each task whose function runs in this process if that was told to end, and its stack.

    If *end*, they are told so: a coroutine function is cancelled, others may ask their jobs.
    """
    found = {}
    for key in keys:
        running = _running.get(key)  # it may end at any moment, in its thread
        if running is not None:
            call, work = running
            found[key] = (work.over, work.where())
            if end:
                call.end()
                work.end()
    return found


def _call(
    key: str, backend: str, call: Call, func: Callable[..., Any], arguments: Mapping[str, Any]
) -> Any:
    work = Work(call.job.func, func, arguments, backend)
    _running[key] = (call, work)
    try:
        return work.run()
    finally:
        del _running[key]


def _prepared(setup: bytes) -> Callable[..., bytes]:
    """Load, once in each process, what registers the jobs, and the plugins beside them."""
    with _loading:
        serve = _ready.get(setup)
        if serve is None:
            told = json.loads(setup)
            if os.environ.get("DJANGO_SETTINGS_MODULE"):
                importlib.import_module("django").setup()
            registry.load_sources(told["sources"])
            serve = _ready[setup] = partial(
                perform,
                capabilities=Capability(told["capabilities"]),
                backend=told["backend"],
                hooks=beside.loaded(told["plugins"]),
            )
    return serve


def _begins(key: str) -> bool:
    """Have the scheduler remember that this call was begun; False if it was before."""
    from distributed import get_client

    client: Any = get_client()
    try:
        client.publish_dataset(key, name=begun(key))
    except KeyError:  # there is one of this name
        return False
    return True


def begun(key: str) -> str:
    """Return the name under which the scheduler remembers it."""
    return f"chancy-begun-{key}"
