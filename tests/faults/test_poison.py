"""Jobs that harm what runs them, beside a thousand that do not: nobody fails but the culprits."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chancy import Limit, Queue
from tests.faults.history import History
from tests.faults.member import LETHAL
from tests.faults.scenario import Scenario, scenario
from tests.faults.sizes import figure, size
from tests.fleet import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

#: Which process has the only job.
HELD = "SELECT w.pid FROM chancy_jobs j JOIN chancy_workers w ON w.id = j.worker"
RAISING = ("memory", "unpicklable", "nul")


def _states(found: History, labels: set[object]) -> Counter[str | None]:
    return Counter(m.new for m in found.moved if m.op == "finished" and m.label in labels)


def _innocent(found: History, culprits: set[object]) -> Counter[str | None]:
    return Counter(m.new for m in found.moved if m.op == "finished" and m.label not in culprits)


@contextmanager
def _cgroup() -> Iterator[str | None]:
    """A group of processes that have 64 MiB together; None where this machine has none."""
    for root, limit in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"),
    ):  # fmt: skip
        folder = Path(root, f"chancy-{os.getpid()}")
        try:
            folder.mkdir()
            (folder / limit).write_text(str(2**26))
        except OSError:
            if folder.exists():
                folder.rmdir()
            continue
        yield str(folder)
        until(lambda folder=folder: not (folder / "cgroup.procs").read_text(), 10, "it is empty")
        folder.rmdir()
        return
    yield None


def test_poison_in_child_processes(dsn, tmp_path):
    """G1, G8: a child that dies costs its own job, and no other."""
    _poison_children(dsn, tmp_path, [*LETHAL, *RAISING], 1_000)


def test_poison_that_takes_all_memory(dsn, tmp_path):
    """G1: so does one that the kernel kills, for its group has no more memory."""
    with _cgroup() as group:
        if group is None:
            pytest.skip("a memory cgroup can not be made here")
        _poison_children(dsn, tmp_path, [f"cgroup:{group}"], 50)


def _poison_children(dsn: str, folder: Path, ways: list[str], innocents: int) -> None:
    each = size(2, 20)
    children = Queue("q", executor="process", concurrency=3, polling_interval=1)
    names = [way.partition(":")[0] for way in ways]
    with scenario(f"poison in children, {names[0]}", dsn, folder, queues=[children]) as run:
        bad = [job for how in ways * each for job in run.jobs("poison", 1, how=how)]
        jobs = run.jobs("toil", innocents) + bad
        run.armada.random.shuffle(jobs)
        run.man(2)
        run.push(jobs)
        run.drained(300)
        culprits = {job.kwargs["label"] for job in bad}
        found = run.judged()
    figure("poison in children: ways, each so often", [names, each])
    assert _innocent(found, culprits) == {"succeeded": innocents}
    assert _states(found, culprits) == {"failed": len(bad)}
    assert {move.crashes for move in found.moved} == {0}
    assert {m.backend for m in run.armada.ended} == {"asyncio", "trio"}


def test_poison_in_the_workers_own_process(dsn, tmp_path):
    """A14: who kills three workers is quarantined; whoever ran beside them ends well."""
    rounds = size(1, 10)
    kinds = {
        f"{executor}-{how}": (executor, func, how)
        for executor, func in (("async", "venom"), ("thread", "poison")) for how in LETHAL
    }  # fmt: skip
    queues = [
        Queue(name, executor=executor, concurrency=10, polling_interval=1)
        for name, (executor, _, _) in kinds.items()
    ]
    innocent = {"async": "work", "thread": "toil"}
    culprits: set[object] = set()
    with scenario("poison in workers", dsn, tmp_path, queues=queues, lease=2.0) as run:
        crews = {
            name: [run.armada.start(queues=[name])[0].name for _ in range(2)] for name in kinds
        }
        run.armada.start(queues=["none"])  # it looks on, and buries the dead
        for _ in range(rounds):
            for name, (executor, func, how) in kinds.items():
                bad = run.jobs(func, 1, how=how, queue=name)
                harmless = [
                    job for how in RAISING for job in run.jobs(func, 1, how=how, queue=name)
                    # Threads share what memory there is: innocents too would find none.
                    if (executor, how) != ("thread", "memory")
                ]  # fmt: skip
                culprits |= {job.kwargs["label"] for job in bad + harmless}
                jobs = run.jobs(innocent[executor], 125, seconds=0.01, queue=name) + bad + harmless
                run.armada.random.shuffle(jobs)
                run.push(jobs)
            until(lambda: (_tend(run, crews), not run.left())[1], 120, "all end")
        found = run.judged()
        errors = run.rows("SELECT queue, errors FROM chancy_history WHERE state = 'failed'")
    deaths = Counter(m.status for m in run.armada.ended)
    figure("poison in workers: how they ended", {str(k): n for k, n in deaths.items()})
    charged = Counter(
        m.crashes for m in found.moved if m.op == "finished" and m.label not in culprits
    )
    figure("poison in workers: innocents by how often they were charged", dict(charged))
    assert _innocent(found, culprits) == {"succeeded": 1_000 * rounds}, errors
    lethal = sum(m.new == "quarantined" for m in found.moved if m.op == "finished")
    states = _states(found, culprits)
    assert set(states) == {"quarantined", "failed"}
    assert lethal >= 6 * rounds  # a recursion may be a mere error
    assert {m.crashes for m in found.moved if m.op == "finished" and m.new == "quarantined"} == {3}


def _tend(run: Scenario, crews: dict[str, list[str]]) -> None:
    """Be a supervisor: whoever died is replaced in its own crew."""
    for member in run.armada.look():
        for queue, crew in crews.items():
            if member.name in crew:
                crew.remove(member.name)
                crew.append(run.armada.start(queues=[queue])[0].name)
    time.sleep(0.05)


def test_a_blocked_event_loop(dsn, tmp_path):
    """A9: it is named, and keeps its lease; frozen as a whole, it does not."""
    times, lease = size(2, 20), 1.2
    with scenario("blocked loop", dsn, tmp_path, lease=lease) as run:
        members = run.man(2)
        for _ in range(times):
            (first,) = run.push(run.jobs("block", 1, seconds=5 * lease))
            until(lambda: run.left() == 1, 5, "it is there")
            until(lambda: not run.left(), 30, "it ends")
            (job,) = run.chancy.sync_get_jobs([first])
            assert (job.claims, job.crashes, job.state.value) == (1, 0, "succeeded")
            (second,) = run.push(run.jobs("block", 1, seconds=3 * lease))
            until(lambda: run.rows(HELD), 10, "it runs")
            ((pid,),) = run.rows(HELD)
            holder = run.armada.members[pid]
            run.armada.freeze(holder)
            until(lambda: not run.left(), 30, "another runs it")
            run.armada.thaw(holder)
            (job,) = run.chancy.sync_get_jobs([second])
            assert (job.claims, job.crashes, job.state.value) == (2, 1, "succeeded")
            until(lambda: len(run.workers()) == len(members), 20, "it is back")
        figure("blocked loop: rounds", times)
        assert run.armada.logged("its event loop has been blocked") >= times
        run.judged()


def test_a_swallowed_cancellation(dsn, tmp_path):
    """G7: it is named; when its worker stops, its job is given back and runs elsewhere."""
    times = size(2, 20)
    with scenario("swallowed", dsn, tmp_path, grace=0.2) as run:
        run.man(2)
        late = Limit(Limit.Type.TIME, 0.5)
        timed = run.push(
            run.jobs("swallow", times, seconds=7.0, options={"limits": [late], "max_attempts": 1})
        )
        until(lambda: run.armada.logged("was told to end") >= times, 30, "they are named")
        run.drained(30)
        assert {job.state.value for job in run.chancy.sync_get_jobs(timed)} <= {
            "failed",
            "succeeded",
        }
        for _ in range(times):
            (reference,) = run.push(run.jobs("swallow", 1, seconds=3.0))
            until(lambda: run.rows(HELD), 10, "it runs")
            ((pid,),) = run.rows(HELD)
            holder = run.armada.members[pid]
            run.record.say("stuck", target=pid)
            run.armada.terminate(holder)
            until(lambda pid=pid: run.rows(HELD) not in ([], [(pid,)]), 10, "another runs it")
            until(
                lambda holder=holder: (run.armada.look(), holder.status is not None)[1], 20, "left"
            )
            run.drained(20)
            assert run.chancy.sync_get_jobs([reference])[0].claims == 2
            run.man(1)
        run.judged()
