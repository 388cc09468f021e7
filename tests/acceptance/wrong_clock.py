"""A process whose clock is wrong: what Python says the time is lies so many seconds off.

Must be set before anything that asks for the time is imported. What PostgreSQL's driver makes of
the database's answers stays as it is.
"""

import datetime as dt
import time

#: By how much it is wrong; nothing as long as it is right.
_ahead: list[float] = []


def set_ahead(seconds: float) -> None:
    """Be wrong by so much from now on; from the first call on the clock can be set."""
    right = not _ahead
    _ahead[:] = [seconds]
    if right:
        _replace_clocks()


def _replace_clocks() -> None:
    right = dt.datetime
    time_of, time_ns_of = time.time, time.time_ns

    class AlsoTheRight(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, right)

    class Wrong(right, metaclass=AlsoTheRight):
        __slots__ = ()  # its size is checked by modules written in C

        @classmethod
        def now(cls, tz=None):
            return right.now(tz) + dt.timedelta(seconds=_ahead[0])

        @classmethod
        def utcnow(cls):
            return right.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(seconds=_ahead[0])

    dt.datetime = Wrong
    time.time = lambda: time_of() + _ahead[0]
    time.time_ns = lambda: time_ns_of() + int(_ahead[0] * 1e9)
