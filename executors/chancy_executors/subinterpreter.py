"""A sub-interpreter of this process, by whichever door this version of Python has."""

import importlib
import logging
import sys
from functools import cache
from typing import Any

log = logging.getLogger("chancy.interpreter")

#: The first version of Python that has sub-interpreters with a lock of their own.
NEEDED = (3, 13)
AVAILABLE = sys.version_info >= NEEDED and sys.implementation.name == "cpython"
#: Whether they are public, by `concurrent.interpreters`: before, there is what that is made of.
_PUBLIC = sys.version_info >= (3, 14)


@cache
def warn() -> None:
    """Say, once in a process, that this version of Python has them as an experiment."""
    if not _PUBLIC:
        log.warning(
            "sub-interpreters are an experiment on Python %d.%d: the executor `interpreter` uses "
            "a private module of it, and a defect there ends the whole worker",
            *sys.version_info[:2],
        )


class Subinterpreter:
    """A sub-interpreter with memory and a lock of its own: isolated, as Python calls it.

    It shares the process: its environment, working directory and open files. In it there are no
    signal handlers, no `fork`, no daemon threads, and no module in C that was not written for it.
    """

    def __init__(self) -> None:
        # Python 3.13 crashes when the second one ends that has loaded this module, whose types in C
        # are shared, unless the main interpreter has loaded it before them.
        importlib.import_module("datetime")
        name = "concurrent.interpreters" if _PUBLIC else "_interpreters"
        self._door = importlib.import_module(name)
        self._made: Any = self._door.create()  # a number, if that is private
        self.exec(f"import sys; sys.path[:] = {sys.path!r}")  # it finds modules where we do

    def exec(self, code: str) -> str | None:
        """Run *code* there, in this thread, until it ends; return what it raised, as a text."""
        if not _PUBLIC:
            return _said(self._door.exec(self._made, code))
        try:
            self._made.exec(code)
        except self._door.ExecutionFailed as exc:
            return _said(exc.excinfo)
        return None

    def destroy(self) -> None:
        """End it; nothing may run in it any more. Waits for the threads that were started there."""
        if _PUBLIC:
            self._made.close()
        else:
            self._door.destroy(self._made)


def _said(failed: Any) -> str | None:
    """Return the text of an exception that stayed in its interpreter."""
    return None if failed is None else failed.msg or failed.formatted
