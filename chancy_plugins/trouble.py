"""What keeps a part of a plugin from the database: told of once, and outlived."""

import logging
import random

from chancy_core.errors import DatabaseError

#: Seconds between two tries where only a person can mend what is wrong.
LASTING = 30.0

#: What only a person can mend, by what PostgreSQL says.
_MENDING = {
    "42P01": "its tables are not there: run `chancy migrate`",
    "42703": "its tables are too old: run `chancy migrate`",
    "42883": "its functions are not there: run `chancy migrate`",
}
_RIGHTS = "the worker's role may not use its tables: run `chancy roles --sql` once more"


class Trouble:
    """How often one part of a plugin has asked the database in vain, and what was told of it.

    *what* it does goes before "fails"; *most* is the longest pause between two tries, in seconds;
    *rights* says what to do where the worker's role may not do it.
    """

    def __init__(
        self, log: logging.Logger, what: str, most: float, *, rights: str = _RIGHTS
    ) -> None:
        self._log = log
        self._what = what
        self._most = most
        self._mending = {**_MENDING, "42501": rights}
        self._tries = 0
        self._said: str | None = None
        self._last = ""

    def pause_after(self, exc: Exception) -> float:
        """Say what is wrong, and answer for how many seconds the database is left alone.

        Raises what is not the database's: whoever supervises this says whose defect that is.
        """
        state = getattr(exc, "sqlstate", None)
        if not isinstance(exc, DatabaseError) and not hasattr(exc, "sqlstate"):
            raise exc
        self._tries += 1
        self._last = f"{exc}".strip()
        mending = self._mending.get(state or "")
        if mending is not None:
            if mending != self._said:
                self._log.error("%s fails on this worker: %s (%s)", self._what, mending, exc)
            self._said = mending
            return LASTING * random.uniform(0.8, 1.0)
        if self._tries & (self._tries - 1) == 0:
            self._log.warning("%s failed, try %d: %s", self._what, self._tries, exc)
        return random.uniform(0.0, min(self._most, 0.1 * 2.0 ** min(self._tries, 30)))

    @property
    def lasting(self) -> str | None:
        """What is wrong, if it is more than what the restart of a server causes."""
        if self._said is None and self._tries <= 1:
            return None
        return f"{self._what} fails: {self._said or 'the database cannot be asked'} ({self._last})"

    def over(self) -> None:
        """Note that the database has answered."""
        if self._tries:
            self._log.info("%s works again", self._what)
        self._tries, self._said = 0, None
