"""How far running jobs have come: written now and then, for all to read."""

import logging
from collections.abc import Callable, Iterable
from itertools import islice

import anyio

from chancy_core.events import Events
from chancy_core.run import Attempt
from chancy_core.store import statements
from chancy_core.store.store import TRANSIENT, Store, backoff

log = logging.getLogger("chancy.report")

#: Seconds between two times.
EVERY = 1.0
#: How many jobs are written of in one statement.
AT_ONCE = 500


class Report:
    """Writes the progress of one worker's attempts: of each the last that was said, if it is new.

    It may miss what is said last, right before the end: that comes with the outcome.
    """

    def __init__(
        self, store: Store, attempts: Callable[[], Iterable[Attempt]], events: Events
    ) -> None:
        self._store = store
        self._attempts = attempts
        self._events = events

    async def run(self) -> None:
        """Write of it until cancelled; what the database does not take now is written later."""
        tries = 0
        while True:
            await anyio.sleep(max(EVERY, backoff(tries)) if tries else EVERY)
            try:
                await self._write()
                tries = 0
            except TRANSIENT as exc:
                tries += 1
                log.warning("cannot write how far jobs have come: %s", exc)

    async def _write(self) -> None:
        fresh = (
            (attempt, told)
            for attempt in self._attempts()
            if (told := attempt.progress) is not None and told != attempt.reported
        )
        if not (news := list(islice(fresh, AT_ONCE))):
            return
        said = [(attempt.job, told.text()) for attempt, told in news]
        written = await self._store.run(statements.progress(self._store.names, said))
        for attempt, told in news:
            if attempt.job.id in written:
                attempt.reported = told
                self._events.emit("job.progress", str(attempt.job.id), (attempt.job, told))
