"""What holds whatever anybody does; each law has the name that it has in `docs/reliability.md`.

The first part looks at the tables alone, before and after each step, and knows nothing of the
model: were that wrong, these would still hold. The second compares the tables with the model.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

from attrs import define, field

from chancy_core.outcome import Settlement
from tests.faults.machine.model import Model
from tests.faults.machine.rig import Snapshot

Row = Mapping[str, Any]
NOTHING = Snapshot({}, {}, {}, {}, {})


@define(eq=False)
class Laws:
    """The history of one run, as far as a law needs it."""

    crash_limit: int
    last: Snapshot = NOTHING
    #: What was handed to the store, what it said that it had stored, and what it was to delete.
    pushed: set[UUID] = field(factory=set)
    acknowledged: set[UUID] = field(factory=set)
    deleted: set[UUID] = field(factory=set)
    #: Jobs that an operator brought back in this step, and how often each was claimed before.
    brought_back: set[UUID] = field(factory=set)
    #: The leases that each job had, in order; and those that have had an outcome.
    leases: dict[UUID, list[UUID]] = field(factory=dict)
    ended: set[UUID] = field(factory=set)
    #: The leases under which an `at_most_once` job began, since somebody last wanted it run.
    begun: dict[UUID, set[UUID]] = field(factory=dict)
    #: When jobs were begun behind a queue's limit, since that was last changed.
    starts: dict[str, list[datetime]] = field(factory=dict)
    limits: dict[str, tuple[int, int]] = field(factory=dict)

    def check(self, after: Snapshot) -> None:
        """Hold the tables against each law, after a step."""
        self._nothing_lost(after)
        for id_, row in after.live.items():
            self._outcomes(id_, self.last.live.get(id_), row)
            self._bounded(row)
        for id_, row in self.last.live.items():
            if id_ not in after.live:
                self._outcomes(id_, row, after.finished.get(id_))
        self._final(after)
        keys = Counter(row["unique_key"] for row in after.live.values() if row["unique_key"])
        assert all(count == 1 for count in keys.values()), f"I9: {keys} are held by two live jobs"
        self.brought_back = set()
        self.last = after

    def _nothing_lost(self, after: Snapshot) -> None:
        there = after.live.keys() | after.finished.keys()
        lost = self.acknowledged - self.deleted - there
        assert not lost, f"I1: {lost} were acknowledged, and are neither live nor finished"
        assert there <= self.pushed, f"I2: nobody pushed {there - self.pushed}"
        assert not after.doubled, f"I4: {after.doubled} have two rows"

    def _outcomes(self, id_: UUID, before: Row | None, after: Row | None) -> None:
        """I4, I8: a lease is granted once, ends once, and each claim is one."""
        old = before["lease_id"] if before else None
        new = after["lease_id"] if after and after["state"] == "running" else None
        granted = self.leases.setdefault(id_, [])
        if old is not None and old != new:
            assert old not in self.ended, f"I4: lease {old} of job {id_} ended twice"
            self.ended.add(old)
        if new is not None and new != old:
            assert old is None, f"I4: job {id_} was granted again while {old} had no outcome"
            assert new not in granted, f"I4: lease {new} of job {id_} was granted twice"
            granted.append(new)
        if after is not None:
            said = f"I8: job {id_} was claimed {len(granted)} times, not {after['claims']}"
            assert after["claims"] == len(granted), said

    def _bounded(self, row: Row) -> None:
        assert row["attempts"] < row["max_attempts"], f"I7: one more attempt than allowed: {row}"
        assert row["crashes"] < self.crash_limit, f"I7: one more crash than allowed: {row}"
        assert (row["state"] == "running") is (row["lease_id"] is not None), f"I5: {row}"

    def _final(self, after: Snapshot) -> None:
        for id_, row in self.last.finished.items():
            moved = self.brought_back if id_ in after.live else self.deleted
            assert after.finished.get(id_) == row or id_ in moved, f"I6: {row} was final"
        for id_, row in after.finished.items():
            assert row["attempts"] <= row["max_attempts"], f"I7: more attempts than allowed: {row}"
            assert row["crashes"] <= self.crash_limit, f"I7: more crashes than allowed: {row}"
            assert id_ not in after.live, f"I6: {row} is live as well"

    def counted(self, settled: Iterable[Settlement], counted: set[UUID]) -> None:
        """I5: an outcome counts under the lease that was current before the step."""
        for one in settled:
            row = self.last.live.get(one.job.id)
            current = row is not None and row["lease_id"] == one.job.lease_id
            if one.job.id in counted and not current:
                raise AssertionError(f"I5: {one} counted, where {row} was current")

    def begins(self, job: UUID, lease: UUID) -> None:
        """I7: what may be begun at most once has begun under one lease."""
        begun = self.begun.setdefault(job, set())
        begun.add(lease)
        assert len(begun) == 1, f"I7: job {job} may begin once, and began under {begun}"

    def started(self, queue: str, limit: tuple[int, int], at: Sequence[datetime]) -> None:
        """I11: in no window are there more starts than the limit and its burst."""
        if self.limits.get(queue) != limit:
            self.limits[queue], self.starts[queue] = limit, []
        starts = self.starts[queue]
        starts += at
        most, window = limit[0] + ceil(limit[0] / 10), timedelta(seconds=limit[1])
        for first in set(starts):
            inside = sum(first <= start < first + window for start in starts)
            assert inside <= most, f"I11: {inside} jobs of {queue} in {window}, from {first} on"


def compare(model: Model, tables: Snapshot) -> None:
    """Hold the tables against the model: each column, and the order of those who wait."""
    found = {**tables.live, **tables.finished}
    expected = {id_: job.row() for id_, job in model.jobs.items()}
    if found != expected:
        raise AssertionError("\n".join(_differences(found, expected)))
    places = [model.jobs[id_].place for id_ in tables.live]
    assert places == sorted(places), f"I12: the order of those who wait is {places}"
    for id_ in tables.live:  # those who came into line together stand in some order from now on
        model.jobs[id_].place = model.next_place()
    workers = {id_: (w.dead, w.expires_at) for id_, w in model.workers.items()}
    assert tables.workers == workers
    queues = {
        name: (q.state, q.resume_at, *(q.limit or (None, None))) for name, q in model.queues.items()
    }
    assert tables.queues == queues
    assert tables.rates == {name: (r.tat, *r.limit) for name, r in model.rates.items()}


def _differences(found: Mapping[UUID, Row], expected: Mapping[UUID, Row]) -> Iterable[str]:
    for id_ in found.keys() | expected.keys():
        there, wanted = found.get(id_), expected.get(id_)
        if there is None or wanted is None:
            yield f"job {id_} is {there or 'not there'}, where the model has {wanted or 'none'}"
        elif there != wanted:
            wrong = {k: (there[k], v) for k, v in wanted.items() if there[k] != v}
            yield f"job {id_} differs (found, expected): {wrong}"
