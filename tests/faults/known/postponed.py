"""Jobs of a module whose annotations are strings, and name what is known to type checkers only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chancy import INJECTED, job

if TYPE_CHECKING:
    from uuid import UUID

    from chancy import QueuedJob


@job
def note_and_fail(key: str, *, me: QueuedJob = INJECTED) -> UUID:
    """Leave a note in the meta, and raise."""
    me.meta["note"] = key
    raise RuntimeError(key)
