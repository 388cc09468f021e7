"""Each task and each thread of a worker dies: the worker says which, and goes on or goes away."""

import ast
import time
from pathlib import Path

import pytest

import chancy_core
from tests.faults.ailments import LASTING, TASKS, THREADS, WAYS
from tests.faults.scenario import Scenario, scenario
from tests.faults.sizes import figure, size
from tests.fleet import until

#: What is started as a task or a thread in the core, by module, and how it is attacked: by a name
#: in `TASKS`, `THREADS` or `LASTING`, or "with" what starts it and raises its error.
STARTED = {
    ("app", "self._notifier.run"): "notifier",
    ("assign", "self._serve"): "with the lanes",
    ("bulk", "push"): "with who pushes",
    ("heartbeat", "self._beat"): "chancy-heartbeat",
    ("installed", "partial(_ask, name, who, worker, answers)"): "with the start",
    ("lane", "Slot(self).run"): "with the lanes",
    ("life", "self._leave_dying"): "with the worker",
    ("life", "self._name_who_stays"): "with the worker",
    ("life", "self._vital"): "TASKS",
    ("life", "self._keep"): "service",
    ("life", "hurry"): "with the stop",
    ("observing", "self._serve"): "observer",
    ("keeping", "self._open"): "with the pool",
    ("pool", "self.keep"): "pool",
    ("waiting", "self._listen"): "with who waits",
    ("watchdog", "self._watch_loop"): "chancy-watchdog",
    ("worker", "self._obey_signals"): "with the worker",
    ("worker", "self._work"): "with the worker",
}
ROOMS = ("*.py", "plugins/*.py", "postgres/*.py")


def _calls(module: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)]


def test_all_that_a_worker_starts_is_attacked():
    """Whoever adds a task has to say here how it may die."""
    found = set()
    for module in (path for room in ROOMS for path in Path(chancy_core.__path__[0]).glob(room)):
        for call in _calls(module):
            if ast.unparse(call.func).endswith(".start_soon"):
                found.add((module.stem, ast.unparse(call.args[0])))
            elif ast.unparse(call.func) == "threading.Thread":
                (target,) = (word.value for word in call.keywords if word.arg == "target")
                found.add((module.stem, ast.unparse(target)))
    assert found == STARTED.keys()
    named = {"TASKS", *THREADS, *LASTING}
    assert {how for how in STARTED.values() if not how.startswith("with ")} == named


def test_each_vital_task_is_attacked():
    tree = ast.parse((Path(chancy_core.__path__[0]) / "life.py").read_text())
    yielded = {
        node.value.elts[0].value for node in ast.walk(tree)
        if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple)
        and isinstance(node.value.elts[0], ast.Constant)
    }  # fmt: skip
    served = {
        node.args[1].value for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.args[0]) == "self._vital"
        and isinstance(node.args[1], ast.Constant)
    }  # fmt: skip
    assert yielded | served == TASKS.keys()


def _cases() -> list[tuple[str, str, str]]:
    """Which dies, how, and on which event loop."""
    cases = [
        (name, WAYS[n % 3] if backend == "asyncio" else WAYS[n % 2], backend)
        for n, name in enumerate(TASKS)
        for backend in ("asyncio", "trio")
    ]
    for backend in ("asyncio", "trio"):
        cases += [(name, "exit", backend) for name in THREADS]
        cases += [(name, "error", backend) for name in LASTING]
    cases += [(name, "cancellation", "asyncio") for name in ("observer", "service")]
    if size(False, True):
        cases = [
            (name, how, backend)
            for name in TASKS for how in WAYS for backend in ("asyncio", "trio")
            if (how, backend) != ("cancellation", "trio")  # where nobody can make one
        ] + cases  # fmt: skip
    return cases


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_dead_task_ends_the_worker_or_begins_again(dsn, tmp_path):
    """A15: within five seconds; it is named, and no job is lost or charged for it."""
    took = 0.0
    cases = _cases()
    with scenario(
        "dead tasks", dsn, tmp_path, lease=4.0, grace=1.0,
        chancy={"plugins": ["tests.faults.ailments:onlooker"]},
    ) as run:  # fmt: skip
        run.armada.start(2)
        for first in range(0, len(cases), 12):
            took = max(took, _attack(run, cases[first : first + 12]))
        run.drained(30)
        found = run.judged()
    figure(
        "dead tasks: killed, the longest until the worker had left", [len(cases), round(took, 2)]
    )
    assert {move.crashes for move in found.moved} == {0}
    assert {move.new for move in found.moved if move.op == "finished"} == {"succeeded"}


def _attack(run: Scenario, cases: list[tuple[str, str, str]]) -> float:
    """Let a task die in each of some workers; answers how long the slowest took to leave."""
    ill = {}
    for name, how, backend in cases:
        (member,) = run.armada.start(
            backend=backend, attacked_by=["tests.faults.ailments:befall"],
            dies=name, how=how, after=1.5,
            health={"health": "0", "health_file": str(run.armada.folder / f"{name}-{how}")},
        )  # fmt: skip
        ill[member.pid] = (name, how, member)
    must_go = {pid for pid, (name, _, _) in ill.items() if name not in LASTING}

    def settled() -> bool:
        run.push(run.jobs("linger", 20, seconds=0.2))
        died = {event["pid"] for event in run.record.read() if event["kind"] == "dies"}
        left = {member.pid for member in (run.armada.look(), run.armada.ended)[1]}
        return died >= ill.keys() and left >= must_go

    until(settled, 30, "all die")
    time.sleep(0.5)
    died, gone = (
        {event["pid"]: event["at"] for event in run.record.read() if event["kind"] == kind}
        for kind in ("dies", "gone")
    )
    took = {pid: gone[pid] - died[pid] for pid in must_go}
    late = [(seconds, ill[pid]) for pid, seconds in took.items() if seconds > 5]
    assert not late, "within 5 s they neither went nor went on"
    log = run.armada.log.read_text()
    for pid, (name, how, member) in ill.items():
        lines = [line for line in log.splitlines() if f" {pid} " in line]
        says = THREADS.get(name) or LASTING.get(name) or f"its task {name!r} has died"
        assert (member.status is None) == (name in LASTING), f"{name}, {how}: {member}"
        assert member.status != 0, f"{name}, {how}: it left as if all were well"
        if name in THREADS:
            assert says in log, f"{name}: not named"
        else:
            assert any(says in line for line in lines), f"{name}, {how}: not named by {member}"
    for _, _, member in ill.values():
        if member.status is None:
            _begins_something(run, member.pid)
            run.armada.terminate(member)
    return max(took.values(), default=0.0)


def _begins_something(run: Scenario, pid: int) -> None:
    since = time.monotonic()

    def begun() -> bool:
        run.push(run.jobs("linger", 10, seconds=0.0))
        lines = run.record.read()
        return any(e["pid"] == pid and e["kind"] == "begin" and e["at"] > since for e in lines)

    until(begun, 10, f"{pid} works on")
