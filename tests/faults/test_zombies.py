"""Workers that are stopped for longer than their lease, and wake: what they held is not theirs."""

import time
from typing import cast
from uuid import UUID

import pytest

from chancy import Queue
from tests.faults.armada import Member
from tests.faults.history import History
from tests.faults.scenario import Scenario, scenario
from tests.faults.sizes import figure, size
from tests.fleet import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

WORKERS, AT_ONCE, LEASE = 8, 5, 1.6
#: So few slots that what is pushed reaches every worker; others for what takes long.
QUEUES = [
    Queue(name, executor="async", concurrency=4, polling_interval=1) for name in ("q", "long")
]
#: Longer than anybody is frozen, and less.
LONG, SHORT = 12.0, 0.6


def test_zombies(dsn, tmp_path):
    """A2: a late outcome changes nothing; who wakes lets go, and works on as somebody else."""
    zombies = size(10, 200)
    with scenario(
        "zombies", dsn, tmp_path, queues=QUEUES, lease=LEASE, chancy={"crash_limit": 1_000},
        known={"crash_limit": 1_000},
    ) as run:  # fmt: skip
        members = run.armada.start(WORKERS)
        until(lambda: len(_alive(run)) == WORKERS, 30, "all work")
        for n in range(zombies // AT_ONCE):
            victims = run.armada.random.sample(members, AT_ONCE)
            (_wake_after_others, _wake_beside_others)[n % 2](run, victims)
        run.drained(60)
        refused = run.armada.logged("outcome discarded, its lease was lost")
        found = run.judged()
    told = _told(found)
    figure("zombies: frozen, stale outcomes refused", [len(found.of_kind("frozen")), refused])
    figure("zombies: jobs that were told to end when it woke", told)
    assert {m.backend for m in members if m.pid in _targets(found, "frozen")} == {
        "asyncio", "trio",
    }  # fmt: skip
    assert refused >= zombies
    assert told >= zombies
    assert {move.new for move in found.moved if move.op == "finished"} == {"succeeded"}
    assert {member.status for member in run.armada.ended} == {0}


def _alive(run: Scenario) -> list[tuple[int, UUID]]:
    found = run.rows("SELECT pid, id FROM chancy_workers WHERE NOT dead AND expires_at > now()")
    return cast("list[tuple[int, UUID]]", found)


def _wake_after_others(run: Scenario, victims: list[Member]) -> None:
    """Wake them when others have ended all that they held: not a byte of that changes."""
    before = _at_work(run, victims, again=0.0)
    orphans = _frozen(run, victims, before)
    ended = "SELECT id, h::text FROM chancy_history h WHERE id = ANY(%(ids)s)"
    until(lambda: len(run.rows(ended, ids=orphans)) == len(orphans), 60, "others end their jobs")
    rows = run.rows(ended, ids=orphans)
    _wake(run, victims, before)
    assert sorted(run.rows(ended, ids=orphans)) == sorted(rows), "a row changed as they woke"


def _wake_beside_others(run: Scenario, victims: list[Member]) -> None:
    """Wake them while others run, or are about to, what they held: these keep it."""
    before = _at_work(run, victims, again=1.0)
    orphans = _frozen(run, victims, before)
    elsewhere = """SELECT id, lease_id FROM chancy_jobs WHERE id = ANY(%(ids)s)
                      AND state = 'running' AND worker <> ALL(%(who)s)"""
    dead = "SELECT id FROM chancy_workers WHERE id = ANY(%(who)s) AND dead"
    who = list(before.values())
    until(lambda: len(run.rows(dead, who=who)) == len(who), 30, "they are declared dead")
    until(lambda: run.rows(elsewhere, ids=orphans, who=who), 30, "others run their jobs")
    _wake(run, victims, before)


def _at_work(run: Scenario, victims: list[Member], again: float) -> dict[int, UUID]:
    """Give them what ends while they are frozen, and what does not; who they are, by process."""
    pids = [member.pid for member in victims]
    before = {pid: who for pid, who in _alive(run) if pid in pids}
    held = """SELECT count(DISTINCT worker) FROM chancy_jobs WHERE state = 'running'
                 AND (args ->> 'seconds')::float = %(seconds)s AND worker = ANY(%(who)s)"""
    for seconds, queue in ((LONG, "long"), (SHORT, "q")):
        until(
            lambda seconds=seconds, queue=queue: (
                run.push(run.jobs("linger", 4, queue=queue, seconds=seconds, again=again)),
                run.rows(held, seconds=seconds, who=list(before.values())) == [(len(pids),)],
            )[1],
            10,
            "each of them holds some",
        )
    return before


def _frozen(run: Scenario, victims: list[Member], before: dict[int, UUID]) -> list[UUID]:
    """Freeze them, and return the jobs that they hold."""
    for member in victims:
        run.armada.freeze(member)
    held = "SELECT id FROM chancy_jobs WHERE state = 'running' AND worker = ANY(%(who)s)"
    return [job for (job,) in run.rows(held, who=list(before.values()))]


def _wake(run: Scenario, victims: list[Member], before: dict[int, UUID]) -> None:
    """Wake them; each lives again, as somebody else, and begins something."""
    for member in victims:
        run.armada.thaw(member)
    until(lambda: _reborn(run, before), 10, "all live again, as others")
    since = time.monotonic()

    def begun() -> bool:
        run.push(run.jobs("linger", 2 * WORKERS, seconds=0.05))
        seen = {e["pid"] for e in run.record.read() if e["kind"] == "begin" and e["at"] > since}
        return seen >= before.keys()

    until(begun, 20, "each begins something again")


def _reborn(run: Scenario, before: dict[int, UUID]) -> bool:
    alive = dict(_alive(run))
    return all(alive.get(pid, was) != was for pid, was in before.items())


def _targets(found: History, kind: str) -> set[object]:
    return {event.what["target"] for event in found.of_kind(kind)}


def _told(found: History) -> int:
    """How many jobs ended because their worker, awake again, told them to."""
    thawed = _targets(found, "thawed")
    return sum(
        event.pid in thawed and event.what["how"] == "cancelled" for event in found.of_kind("end")
    )
