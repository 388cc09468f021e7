"""What all steps of the machine have at hand."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from attrs import define, field
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant

from chancy import Queue
from chancy_core.identity import new_id
from chancy_core.outcome import Settlement
from chancy_core.store import requests, statements
from chancy_core.store.rows import Claimed
from tests.faults.machine.laws import Laws, compare
from tests.faults.machine.model import Model
from tests.faults.machine.rig import Rig
from tests.faults.machine.rows import ModelQueue, ModelWorker
from tests.postgres.stores import NAMES

JOBS: Bundle[UUID] = Bundle("jobs")
NAMED = ("a", "b")
QUEUES = st.sampled_from(NAMED)
#: Which of the workers that can take a step takes it.
PICK = st.integers(0, 2)
#: Seconds for which a renewal is good.
LEASE = 10.0


class Doubt:
    """What is known of a statement whose connection broke: nothing."""


DOUBT: Any = Doubt()


@define(eq=False)
class Hand:
    """A worker process: what it remembers, whatever the tables have."""

    id: UUID
    held: dict[UUID, Claimed] = field(factory=dict)
    frozen: bool = False
    #: What it wrote last.
    written: tuple[Settlement, ...] = ()

    @property
    def has_suspect(self) -> bool:
        return any(claimed.job.crashes for claimed in self.held.values())


class Stage(RuleBasedStateMachine):
    """A run of the machine: the store, the model, and the laws."""

    rig: ClassVar[Rig]
    #: How often each thing was done, over all runs.
    done: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        """Begin with two queues, and three workers that are alive."""
        super().__init__()
        self.model = Model(self.rig.begin())
        self.laws = Laws(self.model.crash_limit)
        self.hands = [Hand(new_id()) for _ in range(3)]
        for hand in self.hands:
            self.announce(hand)
        for name in NAMED:
            asked = requests.declare(NAMES, Queue(name, executor="async"), upsert=False)
            self.rig.ask(asked)
            self.model.queues[name] = ModelQueue()

    def announce(self, hand: Hand) -> None:
        """Begin an incarnation; until one is known to have begun, each time another."""
        answer = DOUBT
        while answer is DOUBT:
            hand.id = new_id()
            announced = statements.announce(
                NAMES, hand.id, name="w", hostname="h", pid=1, tags=["*"], lease=LEASE
            )
            worker = {hand.id: ModelWorker(self.model.now + timedelta(seconds=LEASE))}
            answer = self.surely(
                partial(self.rig.run, announced), partial(self.model.workers.update, worker)
            )

    def awake(self, *, holding: bool = False) -> list[Hand]:
        """Return the workers that can take a step, or those of them that hold jobs."""
        return [hand for hand in self.hands if not hand.frozen and (hand.held or not holding)]

    @staticmethod
    def one_of(hands: list[Hand], pick: int) -> Hand:
        return hands[pick % len(hands)]

    @invariant()
    def the_laws_hold(self) -> None:
        self.count("steps")
        if self.rig.touched:  # else no statement was run since the last look
            self.rig.touched = False
            tables = self.rig.look()
            self.laws.check(tables)
            compare(self.model, tables)

    def tried(self, ask: Callable[[], Any], effect: Callable[[], Any]) -> tuple[Any, Any]:
        """Do it to the store and, if it was committed, to the model; answers what both say.

        The store's answer is `DOUBT` where the connection broke.
        """
        try:
            answer = ask()
        except psycopg.OperationalError:
            answer = DOUBT
            self.count("answers lost")
        return answer, (effect() if self.rig.pool.committed else None)

    def surely(self, ask: Callable[[], Any], effect: Callable[[], Any]) -> Any:
        """Do it, and hold the store's answer, if there is one, against the model's."""
        answer, expected = self.tried(ask, effect)
        if answer is not DOUBT:
            assert answer == expected, f"the answer is {answer}, where {expected} was due"
        return answer

    def count(self, what: str, number: int = 1) -> None:
        self.done[what] = self.done.get(what, 0) + number
