"""The steps of workers, and what befalls them."""

from datetime import timedelta
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from chancy_core.job import Failure, State
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict, settle
from chancy_core.store import statements
from chancy_core.store.rows import Claimed
from tests.faults.machine.claiming import AWAKE, HOLDING, Claiming
from tests.faults.machine.model import ENDS
from tests.faults.machine.stage import DOUBT, LEASE, NAMED, PICK, Hand
from tests.postgres.stores import NAMES

KINDS = st.sampled_from(sorted(ENDS))
ENDINGS = st.lists(KINDS, min_size=1, max_size=3)
#: How long a plugin has a job wait until it is tried again, in seconds.
DELAYS = st.sampled_from([0.0, 30.0])


class Working(Claiming):
    """What workers do. One that is frozen does nothing, and is not heard of."""

    @AWAKE
    @rule(pick=PICK, free=st.integers(1, 3), kinds=ENDINGS, delay=DELAYS)
    def work(self, pick: int, free: int, kinds: list[Kind], delay: float) -> None:
        """Claim of all queues, and end what was claimed first."""
        hand = self.one_of(self.awake(), pick)
        self.claim_for(hand, dict.fromkeys(NAMED, free))
        self._end(hand, kinds, delay)

    # -- settling ----------------------------------------------------------------------------------

    @HOLDING
    @rule(pick=PICK, kinds=ENDINGS, delay=DELAYS)
    def finish(self, pick: int, kinds: list[Kind], delay: float) -> None:
        self._end(self.one_of(self.awake(holding=True), pick), kinds, delay)

    def _end(self, hand: Hand, kinds: list[Kind], delay: float) -> None:
        """End the jobs that it has held longest, in these ways."""
        self._settle(hand, dict(zip(list(hand.held), kinds, strict=False)), delay)

    def _settle(self, hand: Hand, ends: dict[UUID, Kind], delay: float = 0.0) -> None:
        """Write how attempts ended, though others may hold these jobs by now."""
        if not ends:
            return
        settled = [self._settlement(hand.held.pop(lease), k, delay) for lease, k in ends.items()]
        counted, repeated = self.rig.settle(settled)
        self.laws.counted(settled, counted)
        expected = set()
        for one in settled:
            job, kind = one.job, one.outcome.kind
            assert job.lease_id is not None
            if kind is Kind.UNKNOWN_FUNCTION:  # then it had not begun
                self.laws.begun.get(job.id, set()).discard(job.lease_id)
            if self.model.end(job.id, job.lease_id, kind, delay):
                expected.add(job.id)
        if repeated:  # what went back into its queue bears no lease by which it could be recognised
            expected -= {s.job.id for s in settled if not s.verdict.state.finished} - counted
        assert counted == expected, f"I5: {counted} counted, where {expected} should"
        hand.written = tuple(settled)
        self.count("settled", len(counted))
        self.count("stale outcomes refused", len(settled) - len(counted))

    @staticmethod
    def _settlement(claimed: Claimed, kind: Kind, delay: float) -> Settlement:
        job = claimed.job
        failure = Failure(attempt=1, kind=kind.value, type="E", message="no")
        ends_well = kind in {Kind.SUCCESS, Kind.CANCELLED, Kind.SHUTDOWN, Kind.SNOOZED}
        result = "1" if kind is Kind.SUCCESS else None
        outcome = Outcome(kind, result, None if ends_well else failure, retry_after=delay)
        verdict = settle(job, outcome)
        if delay and kind in {Kind.ERROR, Kind.TIMEOUT} and verdict.state is State.PENDING:
            verdict = Verdict(State.SCHEDULED, delay=delay)  # as a plugin decides
        return Settlement(job, outcome, verdict)

    @precondition(lambda self: any(hand.written for hand in self.hands))
    @rule(pick=PICK)
    def settle_again(self, pick: int) -> None:
        """Repeat a settling that was committed: it changes nothing."""
        hand = self.one_of([hand for hand in self.hands if hand.written], pick)
        finished = {
            one.job.id
            for one in hand.written
            if (job := self.model.jobs.get(one.job.id)) is not None
            and not job.live
            and job.lease_id == one.job.lease_id
            and one.verdict.state.finished
        }
        self.surely(lambda: self.rig.settle_again(hand.written), lambda: finished)

    @HOLDING
    @rule(pick=PICK)
    def complete(self, pick: int) -> None:
        """A function settles its job in a transaction of its own; its worker does so, too late."""
        hand = self.one_of(self.awake(holding=True), pick)
        lease, claimed = next(iter(hand.held.items()))
        job = claimed.job

        def effect() -> set[UUID]:
            return {job.id} if self.model.end(job.id, lease, Kind.SUCCESS, 0) else set()

        asked = statements.complete(NAMES, job, "1")
        self.surely(lambda: self.rig.run(asked), effect)

    # -- living and dying --------------------------------------------------------------------------

    @AWAKE
    @rule(pick=PICK)
    def renew(self, pick: int) -> None:
        self._renew(self.one_of(self.awake(), pick))

    def _renew(self, hand: Hand) -> None:
        def effect() -> bool:
            worker = self.model.workers.get(hand.id)
            if worker is None or worker.dead:
                return False
            worker.expires_at = self.model.now + timedelta(seconds=LEASE)
            return True

        asked = statements.renew(NAMES, hand.id, LEASE)
        if self.surely(lambda: self.rig.run(asked) is not None, effect) is False:
            hand.held.clear()  # declared dead: all is lost to it
            self.announce(hand)

    @AWAKE
    @rule(pick=PICK)
    def freeze(self, pick: int) -> None:
        self.one_of(self.awake(), pick).frozen = True

    @precondition(lambda self: any(hand.frozen for hand in self.hands))
    @rule(pick=PICK, kind=KINDS)
    def revive(self, pick: int, kind: Kind) -> None:
        """It knows nothing of what happened, and writes at once how its jobs have ended."""
        hand = self.one_of([hand for hand in self.hands if hand.frozen], pick)
        hand.frozen = False
        if hand.held:
            self._settle(hand, dict.fromkeys(hand.held, kind))
            self.count("revived with jobs")

    @AWAKE
    @rule(pick=PICK)
    def audit(self, pick: int) -> None:
        """Give back what it holds without knowing, after a claim whose answer was lost."""
        hand = self.one_of(self.awake(), pick)
        held = {lease: claimed.job.id for lease, claimed in hand.held.items()}
        asked = statements.audit(NAMES, hand.id, held)

        def effect() -> list[tuple[UUID, UUID, bool]]:
            mine = [j for j in self.model.jobs.values() if j.state == "running"]
            return sorted(
                (job.id, job.lease_id, job.cancelling)
                for job in mine
                if job.worker == hand.id and (job.cancelling or job.lease_id not in hand.held)
            )

        found = self.surely(lambda: sorted(self.rig.run(asked)), effect)
        if found is DOUBT:
            return
        unknown = [lease for _, lease, _ in found if lease not in hand.held]
        if unknown:
            back = statements.give_back(NAMES, hand.id, unknown)
            self.surely(lambda: self.rig.run(back), lambda: self.model.give_back(hand.id, unknown))

    @AWAKE
    @rule(pick=PICK)
    def leave(self, pick: int) -> None:
        hand = self.one_of(self.awake(), pick)
        back = statements.give_back(NAMES, hand.id)
        self.surely(lambda: self.rig.run(back), lambda: self.model.give_back(hand.id))
        retire = statements.retire(NAMES, hand.id)
        self.surely(
            lambda: self.rig.run(retire), lambda: self.model.workers.pop(hand.id, None) and None
        )
        hand.held.clear()
        self.announce(hand)

    @rule(at_once=st.sampled_from([1, 500]))
    def rescue(self, at_once: int) -> None:
        """Somebody does it, once his own renewals are without a gap: others, if none of these."""
        self._rescue(at_once)

    @AWAKE
    @rule(pick=PICK)
    def outlive(self, pick: int) -> None:
        """A worker is frozen for longer than its lease, while others renew theirs."""
        self.one_of(self.awake(), pick).frozen = True
        self._tick(LEASE + 1)
        for hand in self.awake():
            self._renew(hand)
        self._rescue(500)

    def _rescue(self, at_once: int) -> None:
        def ask() -> list[object]:
            return self.rig.run(
                statements.bury(NAMES), statements.rescue(NAMES, self.model.crash_limit, at_once)
            )

        answer = self.surely(ask, lambda: [self.model.bury(), self.model.rescue(at_once)])
        if answer is not DOUBT:
            self.count("rescued", len(answer[1]))

    # -- what befalls all --------------------------------------------------------------------------

    @rule(
        seconds=st.sampled_from(
            [0.000001, 1.0, 2.5, 9.999999, 10.0, 10.000001, 61.0, 3601.0, 90_000.0, 1_728_000.0]
        )
    )
    def tick(self, seconds: float) -> None:
        """Move the database's clock."""
        self._tick(seconds)

    def _tick(self, seconds: float) -> None:
        self.model.now = self.rig.tick(seconds)

    @rule(after=st.integers(0, 3))
    def cut_the_next(self, after: int) -> None:
        """Have the next connection break, before a statement of its block or after its commit."""
        self.rig.pool.cut = after

    @precondition(lambda self: self.rig.pool.used)
    @rule()
    def crash(self) -> None:
        self.rig.crash()
