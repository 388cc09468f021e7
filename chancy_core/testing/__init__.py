"""What the authors of an application test their jobs with.

    def test_signing_up(chancy_app, chancy_enqueued):
        sign_up(chancy_app, "ada@example.org")
        chancy_enqueued.assert_one(welcome, address="ada@example.org")
        assert sync_drain(chancy_app).check()

The fixtures come from `plugin`, which pytest finds by its entry point. That module is imported at
the start of every run of pytest where this package is installed, and this one with it: nothing
here is loaded before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chancy_core.testing.clock import Clock
    from chancy_core.testing.databases import database, redirected
    from chancy_core.testing.draining import Drained, drain, sync_drain
    from chancy_core.testing.enqueued import Enqueued
    from chancy_core.testing.exam.checking import check_executor
    from chancy_core.testing.inlining import Inline, inline

__all__ = [
    "Clock",
    "Drained",
    "Enqueued",
    "Inline",
    "check_executor",
    "database",
    "drain",
    "inline",
    "redirected",
    "sync_drain",
]

# No room has the name of what is taken from it: an import of the room would hide that.
_ROOMS = {
    "Clock": "clock",
    "Drained": "draining",
    "Enqueued": "enqueued",
    "Inline": "inlining",
    "check_executor": "exam.checking",
    "database": "databases",
    "drain": "draining",
    "inline": "inlining",
    "redirected": "databases",
    "sync_drain": "draining",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
