"""What a Dask worker does for us: it performs calls, with the code of its own environment.

What reaches it is this function's name, bytes and strings; what it gives back is bytes.
"""

import importlib
import json
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from chancy_core import beside, codec, registry
from chancy_core.executor import Capability
from chancy_core.perform import perform

#: The fence of a cluster on several machines: its scheduler remembers what was begun.
BY_SCHEDULER = "scheduler"

_loading = threading.Lock()
#: How calls are performed here, by what their executor has said of them.
_ready: dict[bytes, Callable[[bytes], bytes]] = {}


def perform_call(setup: bytes, fence: str, key: str, message: bytes) -> bytes | str | None:
    """Perform the call in *message*, and return the answer.

    A string says why the jobs could not be loaded here; None, that this call was begun before, by
    a worker which died of it or during it, and will not be begun again. *fence* is where that is
    remembered: a folder, `BY_SCHEDULER`, or nowhere.
    """
    try:
        serve = _prepared(setup)
    except BaseException as exc:  # noqa: BLE001 - told to whoever sent the call
        return codec.clean(f"{type(exc).__name__}: {exc}", 1000)
    if not fence:
        return serve(message)
    if fence == BY_SCHEDULER:
        return serve(message) if _begins_by_scheduler(key) else None
    return _performed_once(Path(fence) / key, serve, message)


def _prepared(setup: bytes) -> Callable[[bytes], bytes]:
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


def _performed_once(file: Path, serve: Callable[[bytes], bytes], message: bytes) -> bytes | None:
    """Perform a call that no process of this machine has begun; else return what came of it.

    An answer outlives the process that gave it, which may die before the answer was fetched.
    """
    try:
        file.touch(exist_ok=False)
    except FileExistsError:
        return file.read_bytes() or None
    answer = serve(message)
    ended = file.with_suffix(".ended")
    ended.write_bytes(answer)
    ended.replace(file)  # whole, or not at all
    return answer


def _begins_by_scheduler(key: str) -> bool:
    from distributed import get_client

    client: Any = get_client()
    try:
        client.publish_dataset(key, name=fence_name(key))
    except KeyError:  # there is one of this name
        return False
    return True


def fence_name(key: str) -> str:
    """Return the name under which a scheduler remembers that a call was begun."""
    return f"chancy-begun-{key}"
