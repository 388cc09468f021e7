"""A plugin that does harm in every hook, in whatever manner a test asks for."""

import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import anyio

from chancy_core import hookspecs
from chancy_core.hookspecs import hookimpl
from chancy_core.host import Service

#: The hooks of a plugin: those that are called once for an application, and those of a worker.
SPECS = {name: spec for name, spec in vars(hookspecs).items() if name.startswith("chancy_")}
OBSERVERS = {"chancy_notified", "chancy_jobs_rescued", "chancy_jobs_settled"}


class Harm(RuntimeError):
    """What a hostile plugin raises."""


class Odd:
    """An answer that makes no sense anywhere."""


class Contexts:
    """A context of either colour that does something as it is entered, and as it is left."""

    def __init__(self, enter: Callable[[], Any], leave: Callable[[], Any]) -> None:
        self.enter, self.leave = enter, leave

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *exc: object) -> bool:
        self.leave()
        return True  # it tries to hide what the function raised

    async def __aenter__(self) -> None:
        await _awaited(self.enter())

    async def __aexit__(self, *exc: object) -> bool:
        await _awaited(self.leave())
        return True


async def _awaited(value: Any) -> None:
    if isinstance(value, Awaitable):
        await value


def harm(*_: object) -> Any:
    raise Harm("harm was done")


def leave(*_: object) -> Any:
    raise SystemExit(3)


def odd(*_: object) -> Any:
    return Odd()


def nothing(*_: object) -> None:
    return None


def hostile(manner: Callable[..., Any], *hooks: str, **made: Any) -> SimpleNamespace:
    """Return a plugin that implements *hooks*, or all of them, in the same manner."""

    def implemented(name: str) -> Any:
        spec = SPECS[name]
        names = ", ".join(spec.__code__.co_varnames[: spec.__code__.co_argcount])
        asynchronous = spec.__code__.co_flags & 0x80
        text = f"def {name}({names}): return manner({names})"
        if asynchronous:
            text = f"async def {name}({names}): return await awaited(manner({names}))"
        scope: dict[str, Any] = {"manner": manner, "awaited": _passed, "__name__": __name__}
        exec(text, scope)
        return hookimpl(scope[name])

    return SimpleNamespace(**{name: implemented(name) for name in hooks or SPECS}, **made)


async def _passed(value: Any) -> Any:
    return await value if isinstance(value, Awaitable) else value


def service(run: Callable[[], Awaitable[object]]) -> Any:
    """Return a plugin with a service."""
    return hostile(lambda _: [Service("harm", run)], "chancy_worker_services")


async def hang(*_: object) -> None:
    await anyio.sleep_forever()


#: Plugins as they are installed, by entry points that name these.
raising = hostile(harm)
leaving = hostile(leave)
answering = hostile(odd)
hanging = hostile(hang, "chancy_fetch_budget", *sorted(OBSERVERS))


def blocking(named: Callable[[str], bool]) -> SimpleNamespace:
    """Return a plugin each of whose hooks blocks, for three seconds at most, until *named*."""

    def manner(hook: str) -> Callable[..., None]:
        def block(*_: object) -> None:
            end = time.monotonic() + 3
            while not named(hook) and time.monotonic() < end:
                time.sleep(0.01)

        return block

    return SimpleNamespace(**{hook: getattr(hostile(manner(hook), hook), hook) for hook in SPECS})
