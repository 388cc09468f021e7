"""What keeps a campaign from the database: told of once, and outlived."""

import logging
import random

from chancy_core.errors import DatabaseError

log = logging.getLogger("chancy.leadership")

#: The most seconds between two tries, while the database cannot be asked.
MOST = 5.0
#: Seconds between two tries where only a person can mend what is wrong.
LASTING = 30.0

#: What only a person can mend, by what PostgreSQL says.
_MENDING = {
    "42P01": "its table is not there: run `chancy migrate`",
    "42703": "its table is too old: run `chancy migrate`",
    "42501": "the worker's role may not use its table: GRANT it what the page about it lists",
}


class Trouble:
    """How often one campaign has asked the database in vain, and what a person was told of it."""

    def __init__(self, leadership: str) -> None:
        self._leadership = leadership
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
                log.error("nobody here leads %r: %s (%s)", self._leadership, mending, exc)
            self._said = mending
            return LASTING * random.uniform(0.8, 1.0)
        if self._tries & (self._tries - 1) == 0:
            log.warning("cannot ask who leads %r, try %d: %s", self._leadership, self._tries, exc)
        return random.uniform(0.0, min(MOST, 0.1 * 2.0 ** min(self._tries, 30)))

    @property
    def lasts(self) -> bool:
        """Whether there is more than what the restart of a server causes."""
        return self._tries > 1 or self._said is not None

    def over(self) -> None:
        """Note that the database has answered."""
        if self._tries:
            log.info("who leads %r can be asked again", self._leadership)
        self._tries, self._said = 0, None
