"""The judge finds each law broken in a history that breaks it, and shows just what breaks it."""

from uuid import UUID

import pytest
from attrs import evolve

from tests.faults.history import History, Limit, Moved, Said
from tests.faults.judge import judge

JOB, OTHER = UUID(int=1), UUID(int=2)
A, B = UUID(int=10), UUID(int=11)

PUSHING = Said(0.0, "pushing", label="x")
ACKED = Said(0.2, "acked", job=JOB, label="x")
CAME = Moved(1, 0.1, JOB, "came", new="pending", label="x")
TAKEN = Moved(2, 0.3, JOB, "changed", "pending", "running", new_lease=A, claims=1)
BEGUN = Said(0.4, "begin", 1, JOB, A, "x")
DONE = Said(0.5, "end", 1, JOB, A, "x", {"how": "ok"})
LEFT = Moved(3, 0.6, JOB, "left", "running", old_lease=A, claims=1)
ENDED = Moved(4, 0.6, JOB, "finished", new="succeeded", new_lease=A, claims=1, attempts=1)
GOOD = History((PUSHING, ACKED, BEGUN, DONE), (CAME, TAKEN, LEFT, ENDED))

BACK = Moved(3, 0.6, JOB, "changed", "running", "pending", old_lease=A, claims=1, crashes=1)
AGAIN = Moved(4, 0.7, JOB, "changed", "pending", "running", new_lease=B, claims=2, crashes=1)
BEGUN_AGAIN = Said(0.8, "begin", 2, JOB, B, "x")
DONE_AGAIN = Said(0.9, "end", 2, JOB, B, "x", {"how": "ok"})
LEFT_AGAIN = evolve(LEFT, n=5, at=1.0, old_lease=B)
ENDED_AGAIN = evolve(ENDED, n=6, at=1.0, new_lease=B, claims=2, crashes=1)
KILLED = Said(0.5, "killed", what={"target": 1})
RESCUED = History(
    (PUSHING, ACKED, BEGUN, KILLED, BEGUN_AGAIN, DONE_AGAIN),
    (CAME, TAKEN, BACK, AGAIN, LEFT_AGAIN, ENDED_AGAIN),
)


def without(history: History, *events: Said | Moved) -> History:
    return evolve(
        history,
        said=tuple(event for event in history.said if event not in events),
        moved=tuple(event for event in history.moved if event not in events),
    )


def with_(history: History, *moves: Moved) -> History:
    return evolve(history, moved=tuple(sorted((*history.moved, *moves), key=lambda m: m.n)))


TERMINATED = evolve(KILLED, kind="terminated")
DEAF = evolve(BEGUN, what={"deaf": True})
LEFT_BEHIND = evolve(RESCUED, said=(PUSHING, ACKED, DEAF, TERMINATED, BEGUN_AGAIN, DONE_AGAIN))

FROZEN, THAWED = evolve(KILLED, at=0.35, kind="frozen"), evolve(KILLED, at=0.85, kind="thawed")
#: The first holder is frozen with the job in its hands, and begins it when it wakes, or later.
AWAKE = evolve(
    RESCUED,
    said=(PUSHING, ACKED, FROZEN, BEGUN_AGAIN, THAWED, evolve(BEGUN, at=0.86), DONE_AGAIN),
)
LATE = evolve(BEGUN, at=1.2)


@pytest.mark.parametrize(
    "history",
    [GOOD, RESCUED, LEFT_BEHIND, AWAKE],
    ids=["plain", "rescued", "left behind", "as it woke"],
)
def test_what_keeps_the_laws_is_found_good(history):
    assert judge(history) == []


KEYED = evolve(CAME, unique_key="k")
BROKEN = {
    "I1 lost": (without(GOOD, LEFT, ENDED), "I1", (ACKED, TAKEN)),
    "I1 never stored": (evolve(GOOD, said=(PUSHING, ACKED), moved=()), "I1", (ACKED,)),
    "I2 never pushed": (without(GOOD, PUSHING), "I2", (BEGUN,)),
    "I3 nobody harmed": (without(RESCUED, KILLED), "I3", (BEGUN, BACK, BEGUN_AGAIN)),
    "I3 not deaf": (
        evolve(LEFT_BEHIND, said=(PUSHING, ACKED, BEGUN, TERMINATED, BEGUN_AGAIN, DONE_AGAIN)),
        "I3",
        (BEGUN, BACK, BEGUN_AGAIN),
    ),
    "I3 long awake": (
        evolve(AWAKE, said=(PUSHING, ACKED, FROZEN, BEGUN_AGAIN, THAWED, LATE)),
        "I3",
        (BEGUN_AGAIN, LEFT_AGAIN, LATE),
    ),
    "I4 given to two": (without(RESCUED, BACK), "I4", (TAKEN, AGAIN)),
    "I4 ended by a zombie": (
        with_(without(RESCUED, LEFT_AGAIN), evolve(LEFT, n=5)),
        "I4",
        (AGAIN, evolve(LEFT, n=5)),
    ),
    "I5 a stale outcome": (
        with_(without(RESCUED, ENDED_AGAIN), evolve(ENDED, n=6)),
        "I5",
        (AGAIN, evolve(ENDED, n=6)),
    ),
    "I5 without an end": (without(GOOD, DONE), "I5", (TAKEN, ENDED)),
    "I5 before its end": (
        evolve(GOOD, said=(PUSHING, ACKED, BEGUN, evolve(DONE, at=0.8))),
        "I5",
        (TAKEN, evolve(DONE, at=0.8), ENDED),
    ),
    "I6 back unasked": (with_(GOOD, evolve(CAME, n=5)), "I6", (ENDED, evolve(CAME, n=5))),
    "I6 taken out": (
        with_(GOOD, Moved(5, 1.0, JOB, "forgotten", "succeeded")),
        "I6",
        (ENDED, Moved(5, 1.0, JOB, "forgotten", "succeeded")),
    ),
    "I7 attempts": (
        with_(without(GOOD, ENDED), evolve(ENDED, attempts=2)),
        "I7",
        (evolve(ENDED, attempts=2),),
    ),
    "I7 crashes": (
        with_(without(RESCUED, ENDED_AGAIN), evolve(ENDED_AGAIN, crashes=4)),
        "I7",
        (evolve(ENDED_AGAIN, crashes=4),),
    ),
    "I7 begun once": (
        evolve(RESCUED, moved=tuple(evolve(m, at_most_once=True) for m in RESCUED.moved)),
        "I7",
        (BEGUN, BEGUN_AGAIN),
    ),
    "I8 no lease": (evolve(GOOD, moved=()), "I8", (BEGUN,)),
    "I8 one lease twice": (
        evolve(GOOD, said=(PUSHING, ACKED, BEGUN, DONE, evolve(BEGUN, at=0.55))),
        "I8",
        (BEGUN, evolve(BEGUN, at=0.55)),
    ),
    "I9 unique": (
        History((), (KEYED, evolve(KEYED, n=2, job=OTHER))),
        "I9",
        (KEYED, evolve(KEYED, n=2, job=OTHER)),
    ),
    "I11 rate": (
        History(
            (),
            (TAKEN, evolve(TAKEN, n=3, at=0.9), evolve(TAKEN, n=4, at=1.2)),
            limits=(Limit("q", 2, 1.0),),
        ),
        "I11",
        (TAKEN, evolve(TAKEN, n=4, at=1.2)),
    ),
    "I12 order": (
        History(
            (evolve(BEGUN, job=OTHER), BEGUN),
            (
                evolve(CAME, n=1),
                evolve(CAME, n=2, job=OTHER),
                evolve(TAKEN, n=3),
                evolve(TAKEN, n=4, job=OTHER),
            ),
            in_order=frozenset({"q"}),
        ),
        "I12",
        (evolve(BEGUN, job=OTHER), BEGUN),
    ),
}


@pytest.mark.parametrize(("history", "law", "stretch"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_law_is_found_and_shown_by_its_shortest_stretch(history, law, stretch):
    found = [violation for violation in judge(history) if violation.law == law]
    assert found
    assert set(found[0].stretch) == set(stretch)
    assert all(str(event) in str(found[0]) for event in stretch)
