"""Log records of a child: written there as data, and handled by the loggers of its parent.

What crosses is a record's text, its traceback as text, and those of its attributes that are plain
values, such as the job's id; an object that was logged does not.
"""

import json
import logging
import traceback
from collections.abc import Callable, Mapping

from chancy_core.codec import clean

#: The most characters of a record's text or traceback, and of anything else that it bears.
_LONG, _SHORT = 16_384, 1_000
#: What crosses as it is.
_PLAIN = frozenset({str, int, float, bool, type(None)})
#: What means nothing elsewhere, or crosses as a text of another length.
_LEFT = frozenset(
    {"args", "exc_info", "exc_text", "message", "msg", "relativeCreated", "stack_info"}
)

_as_text = logging.Formatter().formatException


def levels() -> dict[str, int]:
    """Return the levels that are set in this process, by the names of loggers; "" is the root's."""
    known = logging.root.manager.loggerDict.copy()  # other threads may add to it
    made = {name: one for name, one in known.items() if isinstance(one, logging.Logger)}
    return {"": logging.root.level} | {name: one.level for name, one in made.items() if one.level}


def take_levels(levels: Mapping[str, int]) -> None:
    """Set the levels that are set in another process, as `levels` has them."""
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def written(record: logging.LogRecord) -> bytes:
    """Write a record as JSON."""
    fields = {
        name: clean(value, _SHORT) if type(value) is str else value
        for name, value in record.__dict__.items()
        if type(value) in _PLAIN and name not in _LEFT
    }
    trace = record.exc_text or (_as_text(record.exc_info) if record.exc_info else "")
    fields |= {
        "msg": clean(record.getMessage(), _LONG),
        "levelno": int(record.levelno),  # which may be an enum's
        "exc_text": clean(trace, _LONG) or None,
        "stack_info": clean(record.stack_info or "", _LONG) or None,
    }
    return json.dumps(fields, ensure_ascii=False).encode()


def handle(body: bytes) -> None:
    """Have the logger of that name handle what `written` has written, as if it were made here.

    What a filter or a handler raises is shown on stderr: no job is to blame for it.
    """
    try:
        record = logging.makeLogRecord(json.loads(body))
        logger = _logger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    except Exception:  # noqa: BLE001 - whatever it is, see above
        traceback.print_exc()


def _logger(name: str) -> logging.Logger:
    """Return the logger of that name, or what does as it would if there were one.

    A new one would be kept for good, and a job may log by as many names as it likes.
    """
    known = logging.root.manager.loggerDict
    found = known.get(name)
    if isinstance(found, logging.Logger):
        return found
    if name == "root":
        return logging.root
    passing = logging.Logger(name)  # noqa: LOG001 - see above
    passing.parent = logging.root
    while name := name.rpartition(".")[0]:
        above = known.get(name)
        if isinstance(above, logging.Logger):
            passing.parent = above
            break
    return passing


class Sender(logging.Handler):
    """Sends the records of this process to another, except those that a handler here takes.

    What the modules of an application set up in a child has the last word there.
    """

    def __init__(self, send: Callable[[bytes], object]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, from the thread that logs."""
        try:
            if not self._is_taken(record):
                self._send(written(record))
        except RecursionError:  # the job's own
            raise
        except Exception:  # noqa: BLE001 - it is shown on stderr, as logging does it
            self.handleError(record)

    def _is_taken(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            for one in logger.handlers:
                if one is self or isinstance(one, logging.NullHandler):
                    continue
                if record.levelno >= one.level and one.filter(record):
                    return True
            logger = logger.parent if logger.propagate else None
        return False
