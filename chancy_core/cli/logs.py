"""What a worker in a terminal logs: on stderr, a line for each record, for people or programs."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from chancy_core.errors import InvalidValue

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
#: What every record has; all else on it was added by whoever logged it, or by a filter.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def set_up(level: str, form: str) -> None:
    """Log to stderr from now on, instead of wherever the program logged before.

    Raises `InvalidValue` for a level or a format that there is not.
    """
    for what, value, choices in (("level", level, LEVELS), ("format", form, FORMATS)):
        if value not in choices:
            raise InvalidValue(f"--log-{what} is one of {', '.join(choices)}, not {value!r}")
    handler = _Stderr()
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
    handler.setFormatter(Lines() if form == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what is stderr at the moment: a progress bar puts itself in its place."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        pass


class Lines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and what else a record has."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        said |= {key: value for key, value in vars(record).items() if key not in _OWN}
        return json.dumps(said, default=str)
