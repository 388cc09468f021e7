"""How workers claim, and what is due to whom."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import MultipleResults, initialize, precondition, rule

from chancy_core.store import statements
from chancy_core.store.rows import Claimed
from tests.faults.machine.asking import ASKS, Ask, Asking
from tests.faults.machine.rows import ModelJob
from tests.faults.machine.stage import DOUBT, JOBS, NAMED, PICK, QUEUES, Hand, Stage
from tests.postgres.stores import NAMES

FREE = st.dictionaries(QUEUES, st.integers(0, 3), min_size=1)
#: Steps for which somebody has to be awake, and to hold a job.
AWAKE = precondition(Stage.awake)
HOLDING = precondition(lambda self: self.awake(holding=True))


def nothing() -> None:
    """What was done is found out afterwards."""


class Claiming(Asking):
    """The steps that give jobs to workers."""

    @initialize(target=JOBS, asks=st.lists(ASKS, min_size=4, max_size=10))
    def begin_with(self, asks: list[Ask]) -> MultipleResults[UUID]:
        """Push, and have two workers claim: where nothing runs there is little to be seen."""
        pushed = self.push(asks)
        for hand in self.hands[:2]:
            self.claim_for(hand, dict.fromkeys(NAMED, 2))
        return pushed

    @AWAKE
    @rule(pick=PICK, free=FREE)
    def claim(self, pick: int, free: dict[str, int]) -> None:
        self.claim_for(self.one_of(self.awake(), pick), free)

    def claim_for(self, hand: Hand, free: dict[str, int]) -> None:
        """Claim as workers do: of the queues with a limit one by one, behind their locks."""
        limited = [q for q in free if q in self.model.queues and self.model.queues[q].limit]
        if open_ := {queue: most for queue, most in free.items() if queue not in limited}:
            suspect = not hand.has_suspect
            asked = statements.claim(NAMES, hand.id, open_, suspect=suspect)
            claims, _ = self.tried(partial(self.rig.run, asked), nothing)
            gives = {q: n for q, n in open_.items() if self.model.gives(q, hand.id, limited=False)}
            self._claimed(hand, gives, claims, suspect)
            self.the_laws_hold()
        for queue in limited:
            self._claim_behind_limit(hand, queue, free[queue])
            self.the_laws_hold()

    def _claim_behind_limit(self, hand: Hand, queue: str, free: int) -> None:
        suspect = not hand.has_suspect
        ask = partial(self.rig.claim_limited, hand.id, queue, free, suspect=suspect)
        answer, budget = self.tried(ask, lambda: self.model.budget(queue))
        if answer is not DOUBT:
            assert answer is not None
            assert answer[0] == budget, f"I11: {answer[0]} may begin, where {budget} may"
        if budget and free:
            gives = self.model.gives(queue, hand.id, limited=True)
            open_ = {queue: min(budget, free)} if gives else {}
            claims = DOUBT if answer is DOUBT else answer[1]
            if count := self._claimed(hand, open_, claims, suspect):
                self.model.charge(queue, count)
                limit = self.model.rates[queue].limit
                self.laws.started(queue, limit, [self.model.now] * count)
                self.count("claimed behind a limit", count)

    def _claimed(
        self, hand: Hand, free: dict[str, int], claims: Sequence[Claimed], suspect: bool
    ) -> int:
        """Find out what was claimed, whether the worker was told or not, and judge it."""
        if not self.rig.pool.committed:
            return 0
        leases = {
            id_: row["lease_id"]
            for id_, row in self.rig.look().live.items()
            if row["state"] == "running" and row["lease_id"] != self.model.jobs[id_].lease_id
        }
        got = [self.model.jobs[id_] for id_ in leases]
        self._check_line(got, free, suspect)
        if claims is not DOUBT:
            due = sorted(got, key=lambda job: (-job.priority, job.place))
            assert [claimed.job.id for claimed in claims] == [job.id for job in due], "I12"
        for job in got:
            self.model.claim(job, hand.id, leases[job.id])
        for claimed in () if claims is DOUBT else claims:
            assert claimed.job.lease_id == leases[claimed.job.id]
            hand.held[leases[claimed.job.id]] = claimed
            if claimed.job.at_most_once:
                self.laws.begins(claimed.job.id, leases[claimed.job.id])
        self.count("claimed", len(got))
        return len(got)

    def _check_line(self, got: list[ModelJob], free: dict[str, int], suspect: bool) -> None:
        """I12: those who are first in their queues, and of all suspects one."""
        free = {queue: most for queue, most in free.items() if most}
        first = [line[0] for q in free if (line := self.model.line(q, suspects=True))]
        suspects = [job for job in got if job.crashes]
        wanted = 1 if suspect and first else 0
        assert len(suspects) == wanted, f"{len(suspects)} suspects were claimed, not {wanted}"
        assert all(job in first for job in suspects), "I12: a suspect out of turn"
        for queue, most in free.items():
            room = most - sum(job.queue == queue for job in suspects)
            due = self.model.line(queue, suspects=False)[:room]
            mine = [job for job in got if job.queue == queue and not job.crashes]
            assert {j.id for j in mine} == {j.id for j in due}, f"I12: {queue}: {mine}, not {due}"
        assert all(job.queue in free for job in got), "of a queue that gives nothing"

    @rule()
    def promote(self) -> None:
        asked = statements.promote(NAMES)
        self.surely(lambda: set(self.rig.run(asked)[0]), self.model.promote)
