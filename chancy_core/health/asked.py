"""Whether what is asked of the database, again and again, is answered."""

import time


class Asked:
    """Remembers how the last question went; each is the body of a `with`."""

    def __init__(self) -> None:
        #: Why the last one was not answered; None if it was.
        self.trouble: str | None = None
        self._since: float | None = None

    @property
    def waits(self) -> float:
        """For how many seconds one has waited for its answer; 0 if none does."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, _: object, exc: BaseException | None, __: object) -> None:
        self._since = None
        self.trouble = str(exc) if isinstance(exc, Exception) else None
