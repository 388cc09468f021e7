"""COMMIT is cut, before it and after, in each operation: done once, or not at all, and told so."""

import time
from collections import Counter
from collections.abc import Callable

import psycopg
import pytest

from chancy import Chancy, Queue
from chancy_core.errors import ChancyError
from chancy_core.store.statements.pushing import MANY
from tests.faults.armada import Member
from tests.faults.scenario import Scenario, scenario
from tests.faults.sizes import figure, size
from tests.fleet import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

CUTS = size(10, 100)
QUEUES = (
    Queue("q", executor="async", concurrency=20, polling_interval=0.5),
    Queue("limited", executor="async", concurrency=5, rate_limit=1_000, rate_limit_window=1.0,
          polling_interval=0.5),
    Queue("threads", executor="thread", concurrency=4, polling_interval=0.5),
)  # fmt: skip


def test_of_workers(cluster, way, tmp_path):
    """A6: claim, settle, give back, renew, bury and rescue, announce, retire."""
    ops = ["claim", "finish", "requeue", "renew", "rescue", "rate_charge", "give_back", "announce"]
    ops += ["retire", "promote", "complete"]
    with psycopg.connect(cluster.dsn) as conn:
        conn.execute("CREATE TABLE effects (job uuid)")
    with scenario(
        "cut commits of workers", way.dsn(cluster.dsn), tmp_path, direct=cluster.dsn,
        queues=QUEUES, lease=1.0, grace=2.0, chancy={"crash_limit": 10_000},
        known={"crash_limit": 10_000},
    ) as run:  # fmt: skip
        for op in ops:
            way.attacks[op, "before"] = way.attacks[op, "after"] = CUTS
        wanted = sum(way.attacks.values())
        deadline = time.monotonic() + size(90, 900)
        # Some stay, since only who has renewed without a gap rescues; others come and go.
        run.armada.start(3)
        while sum(way.made.values()) < wanted and time.monotonic() < deadline:
            run.push(run.jobs("work", 10, seconds=0.02, options={"max_attempts": 3}))
            run.push(run.jobs("fail", 5, options={"max_attempts": 3}))
            run.push(run.jobs("work", 5, queue="limited", options={"max_attempts": 3}))
            run.push(run.jobs("effect", 5, queue="threads", options={"max_attempts": 100}))
            run.armada.replace(4)
            youngest = list(run.armada.members.values())[-1]
            _come_and_go(run, youngest)
        left = {op: n for op, n in way.attacks.items() if n}
        assert not left, f"these commits never came to be cut: {left}"
        run.drained(60, workers=3)
        found = run.judged()
    with psycopg.connect(cluster.dsn) as conn:
        effects = Counter(job for (job,) in conn.execute("SELECT job FROM effects"))
        done = conn.execute("SELECT id FROM chancy_history WHERE queue = 'threads'").fetchall()
    assert effects == dict.fromkeys((job for (job,) in done), 1)
    figure("cut commits of workers", {f"{op} {how}": n for (op, how), n in way.made.items()})
    assert {move.new for move in found.moved if move.op == "finished"} == {"succeeded"}


def _come_and_go(run: Scenario, member: Member) -> None:
    """Let it come onto the list, if it lives so long, and end it."""
    lives = run.armada.lives
    until(lambda: member.name in run.workers() or not lives(member), 20, "one more worker")
    if lives(member):
        run.armada.random.choice([run.armada.kill, run.armada.terminate])(member)
        until(lambda: not lives(member), 20, f"{member} ends")


def test_of_producers(cluster, way, tmp_path):
    """A6: what a call said was done is done, once; what it said was not sure may be."""
    with scenario(
        "cut commits of producers", cluster.dsn, tmp_path, queues=QUEUES
    ) as run, Chancy(way.dsn(cluster.dsn)) as cut:  # fmt: skip
        for op, attack in PRODUCERS.items():
            for how in ("before", "after"):
                for _ in range(CUTS):
                    way.attacks[op, how] = 1
                    attack(run, cut)
                    assert way.attacks[op, how] == 0, f"{op} {how} never came to be cut"
        run.armada.start(2)
        run.drained(60)
        run.judged()
    figure("cut commits of producers", {f"{op} {how}": n for (op, how), n in way.made.items()})


def _told(call: Callable[[], object]) -> bool:
    """Whether a call said that it did what it should; or that it is not sure."""
    try:
        call()
    except psycopg.OperationalError:
        return False
    return True


def _push(run: Scenario, cut: Chancy) -> None:
    (job,) = run.jobs("work", 1, options={"unique_key": str(time.monotonic_ns())})
    run.record.say("pushing", label=job.kwargs["label"])
    try:
        reference = cut.sync_push(job)
    except psycopg.OperationalError:
        return
    run.record.say("acked", job=reference.id, label=job.kwargs["label"])
    assert run.chancy.sync_get_job(reference).unique_key == job.unique_key


def _push_two(run: Scenario, cut: Chancy) -> None:
    _push_several(run, cut, 2)


def _push_many(run: Scenario, cut: Chancy) -> None:
    _push_several(run, cut, MANY)


def _push_several(run: Scenario, cut: Chancy, number: int) -> None:
    jobs = run.jobs("work", number, seconds=0.0)
    labels = [job.kwargs["label"] for job in jobs]
    run.record.say("pushing", labels=labels)
    try:
        references = cut.sync_push_many(jobs)
    except psycopg.OperationalError:
        return
    for reference, label in zip(references, labels, strict=True):
        run.record.say("acked", job=reference.id, label=label)
    found = run.chancy.sync_get_jobs(references)
    assert sorted(job.kwargs["label"] for job in found) == sorted(labels)


def _cancel(run: Scenario, cut: Chancy) -> None:
    (reference,) = run.push(run.jobs("work", 1))
    if _told(lambda: cut.sync_cancel_job(reference)):
        assert run.chancy.sync_get_job(reference).state.value == "cancelled"
    else:
        run.chancy.sync_cancel_job(reference)


def _retry(run: Scenario, cut: Chancy) -> None:
    (reference,) = run.push(run.jobs("work", 1))
    run.chancy.sync_cancel_job(reference)
    run.record.say("retrying", job=reference.id)
    if _told(lambda: cut.sync_retry_jobs([reference])):
        assert run.chancy.sync_get_job(reference).state.value == "pending"


def _purge(run: Scenario, cut: Chancy) -> None:
    (reference,) = run.push(run.jobs("work", 1))
    run.chancy.sync_cancel_job(reference)
    run.record.say("purging", job=reference.id)
    if _told(lambda: cut.sync_purge_jobs([reference])):
        with pytest.raises(ChancyError):
            run.chancy.sync_get_job(reference)


def _declare(run: Scenario, cut: Chancy) -> None:
    queue = Queue("other", concurrency=time.monotonic_ns() % 1_000 + 1)
    if _told(lambda: cut.sync_declare(queue, upsert=True)):
        assert run.chancy.sync_get_queue("other").concurrency == queue.concurrency


def _pause(run: Scenario, cut: Chancy) -> None:
    run.chancy.sync_declare(Queue("other"), upsert=True)
    if _told(lambda: cut.sync_pause_queue("other")):
        assert run.chancy.sync_get_queue("other").state.value == "paused"


def _delete(run: Scenario, cut: Chancy) -> None:
    run.chancy.sync_declare(Queue("other"), upsert=True)
    if _told(lambda: cut.sync_delete_queue("other")):
        assert "other" not in {queue.name for queue in run.chancy.sync_get_all_queues()}


PRODUCERS: dict[str, Callable[[Scenario, Chancy], None]] = {
    "push_one": _push,
    "push": _push_two,
    "push_many": _push_many,
    "cancel": _cancel,
    "retry": _retry,
    "purge": _purge,
    "declare": _declare,
    "pause_queue": _pause,
    "delete_queue": _delete,
}
