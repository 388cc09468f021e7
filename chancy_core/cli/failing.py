"""How a command fails: one line that says what to do next, and the exit code."""

import json
import os
import sys
from collections.abc import Iterator

from chancy_core.errors import ChancyError, JobFailed

#: What was asked for was done.
DONE = 0
#: It was done, and its answer is no: a job has failed, a check has found something.
FAILED = 1
#: It cannot be done: a wrong option, no database, no such job.
IMPOSSIBLE = 2
#: A worker had to leave a job behind that did not end.
LEFT_BEHIND = 75
#: Ctrl-C.
INTERRUPTED = 130
#: Nobody reads what is written, as in `chancy job list | head`.
UNREAD = 141


class Refused(ChancyError):
    """A command cannot do what it was asked; the message says what would have been right."""


def explain(error: BaseException, *, as_json: bool, traceback: bool) -> int:
    """Say on stderr what went wrong, and return the exit code for it."""
    error = next(_leaves(error))
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        _forget_stdout()
        return UNREAD
    code = FAILED if isinstance(error, JobFailed) else IMPOSSIBLE
    if traceback:
        _show(error)
    kind, message = type(error).__name__, " ".join(str(error).split())
    ours = isinstance(error, ChancyError) or _of_usage(error)
    if as_json:
        told = {"error": kind, "message": message, "exit": code}
        line = json.dumps(told, ensure_ascii=False)
    else:
        more = "" if ours or traceback else " (--traceback shows where)"
        line = f"chancy: {'' if ours else f'{kind}: '}{message}{more}"
    print(line, file=sys.stderr)  # noqa: T201 - rich would wrap it
    return code


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield what the groups that event loops make are made of, Ctrl-C first."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    leaves = [leaf for one in error.exceptions for leaf in _leaves(one)]
    yield from sorted(leaves, key=lambda leaf: not isinstance(leaf, KeyboardInterrupt))


def _of_usage(error: BaseException) -> bool:
    from cyclopts import CycloptsError

    return isinstance(error, CycloptsError)


def _show(error: BaseException) -> None:
    import traceback

    traceback.print_exception(error)


def _forget_stdout() -> None:
    """Have Python not fail once more when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
