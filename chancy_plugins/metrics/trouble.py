"""What keeps a part of the plugin from the database: told of once, and outlived."""

import logging
import random

from chancy_core.errors import DatabaseError

log = logging.getLogger("chancy.metrics")

#: The most seconds between two tries, while the database cannot be asked.
MOST = 10.0
#: Seconds between two tries where only a person can mend what is wrong.
LASTING = 30.0

_MENDING = {
    "42P01": "its tables are not there: run `chancy migrate`",
    "42703": "its tables are too old: run `chancy migrate`",
    "42501": "the worker's role may not use its tables: run `chancy roles --sql` once more",
}


class Trouble:
    """How often one part has asked the database in vain, and what a person was told of it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._tries = 0
        self._said: str | None = None

    def pause_after(self, exc: Exception) -> float:
        """Say what is wrong, and answer for how many seconds the database is left alone.

        Raises what is not the database's: whoever supervises this says whose defect that is.
        """
        state = getattr(exc, "sqlstate", None)
        if not isinstance(exc, DatabaseError) and not hasattr(exc, "sqlstate"):
            raise exc
        self._tries += 1
        mending = _MENDING.get(state or "")
        if mending is not None:
            if mending != self._said:
                log.error("metrics: %s fails on this worker: %s (%s)", self._what, mending, exc)
            self._said = mending
            return LASTING * random.uniform(0.8, 1.0)
        if self._tries & (self._tries - 1) == 0:
            log.warning("metrics: %s failed, try %d: %s", self._what, self._tries, exc)
        return random.uniform(0.0, min(MOST, 0.1 * 2.0 ** min(self._tries, 30)))

    @property
    def lasting(self) -> str | None:
        """What is wrong, if it is more than what the restart of a server causes."""
        if self._said is None and self._tries <= 1:
            return None
        return f"{self._what} fails: {self._said or 'the database cannot be asked'}"

    def over(self) -> None:
        """Note that the database has answered."""
        if self._tries:
            log.info("metrics: %s works again", self._what)
        self._tries, self._said = 0, None


def is_of_the_values(exc: Exception) -> bool:
    """Whether an error is about what was written, and not about the database or the way to it."""
    state = getattr(exc, "sqlstate", None)
    if isinstance(state, str):
        return state[:2] in {"22", "23"}
    refused = any(of.__name__ == "DataError" for of in type(exc).__mro__)  # the driver's own
    return refused or isinstance(exc, ValueError)
