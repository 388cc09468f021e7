"""A process whose clock is wrong: what Python says the time is lies so many seconds off.

Must be set before anything that asks for the time is imported. What PostgreSQL's driver makes of
the database's answers stays as it is.
"""

import datetime as dt
import time


def set_ahead(seconds: float) -> None:
    right = dt.datetime
    by = dt.timedelta(seconds=seconds)
    time_of, time_ns_of = time.time, time.time_ns

    class AlsoTheRight(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, right)

    class Wrong(right, metaclass=AlsoTheRight):
        __slots__ = ()  # its size is checked by modules written in C

        @classmethod
        def now(cls, tz=None):
            return right.now(tz) + by

        @classmethod
        def utcnow(cls):
            return right.now(dt.UTC).replace(tzinfo=None) + by

    dt.datetime = Wrong
    time.time = lambda: time_of() + seconds
    time.time_ns = lambda: time_ns_of() + int(seconds * 1e9)
