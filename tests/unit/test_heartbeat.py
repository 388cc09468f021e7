"""The lease of one worker, as its heartbeat knows it: without a database."""

import time

import pytest
from attrs import evolve

from chancy_core.heartbeat import Heartbeat
from chancy_core.statement import Names
from tests.attempts import attempt


class Declared(Heartbeat):
    """One that is told it was declared dead, and notes what it takes for sure meanwhile."""

    def __init__(self):
        super().__init__("", Names(), name="w", tags=())
        self.seen = []

    def _connect(self):
        return None

    def _run(self, statement):
        self.seen.append((self.sure, self.incarnation))
        return (
            False if len(self.seen) > 1 else None
        )  # the renewal finds no row, the announcement does its work

    def _mark(self, now):
        self.seen.append((self.sure, self.incarnation))
        super()._mark(now)


@pytest.mark.anyio  # a cancel scope is made with the job
async def test_nothing_is_sure_between_two_incarnations():
    """Else a job of the old one could begin while the new one is announced."""
    beat = Declared()
    Heartbeat._mark(beat, time.monotonic())
    old = beat.incarnation
    job = evolve(attempt("add", a=1, b=1).job, worker=old)
    assert beat.holds(job)
    beat._once()
    assert old != beat.incarnation
    assert beat.seen == [(True, old), (False, old), (False, beat.incarnation)]
    assert beat.sure
    assert not beat.holds(job)
    assert beat.holds(evolve(job, worker=beat.incarnation))
