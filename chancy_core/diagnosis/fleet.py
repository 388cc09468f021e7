"""The workers, and what waits for them: whether they agree, and whether somebody takes each job."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from attrs import evolve

from chancy_core.diagnosis.finding import Finding
from chancy_core.errors import ChancyError
from chancy_core.installed import find_executor
from chancy_core.postgres import CallTimeout
from chancy_core.queue import Queue
from chancy_core.store import statements
from chancy_core.store.roster import Fault, WorkerInfo
from chancy_core.store.rows import Queues
from chancy_core.store.standing import Aside, Refused, Waiting

if TYPE_CHECKING:
    from chancy_core.app import Chancy

#: The settings about which all workers must agree.
AGREED = ("crash_limit", "lease", "notifications")
#: Seconds by which a worker's clock may be off.
APART = 5.0
#: Seconds that counting may take.
COUNTING = 10.0
#: How many workers a finding names.
SHOWN = 5
#: How often a job is refused before nobody is expected any more who knows it: within 75 s.
ENOUGH = 5
#: So many jobs are looked at: there may be more.
MANY = 1000

#: Seconds for which a plugin's fault is something wrong; after that, it is something to know.
FRESH = 3600.0
#: How many faults of plugins are told of.
FAULTS = 50


async def look(chancy: "Chancy") -> AsyncIterator[Finding]:
    """Look at the workers and queues of an installation."""
    workers = [worker for worker in await chancy.get_all_workers() if worker.alive]
    yield Finding("workers", True if workers else None, f"{len(workers)} are alive")
    queues = await chancy.store.run(statements.all_queues(chancy.names))
    found = (*_agreement(workers), *_clocks(workers), *_plugins(workers), *_unfit(queues))
    for finding in found:
        yield finding
    patient = evolve(chancy.store, call_timeout=COUNTING)
    try:
        for waiting in await patient.run(statements.waiting(chancy.names)):
            yield _taken(waiting, queues, workers)
        for aside in await patient.run(statements.set_aside(chancy.names)):
            yield _aside(aside)
        for refused in await patient.run(statements.refused(chancy.names)):
            yield _unknown(refused, queues, workers)
    except CallTimeout:
        yield Finding("jobs", None, f"there are too many to be counted within {COUNTING:g} s")


def _agreement(workers: Sequence[WorkerInfo]) -> Iterator[Finding]:
    for setting in AGREED:
        told = [w for w in workers if w.settings is not None and setting in w.settings]
        if says := _apart((str((w.settings or {})[setting]), w.name) for w in told):
            yield Finding(
                "workers", False, f"they disagree about {setting}: {says}", "give all the same"
            )
    if says := _apart((w.version or "unknown", w.name) for w in workers):
        yield Finding(
            "workers", None, f"their versions differ: {says}", "expected while a release goes out"
        )


def _apart(told: Iterable[tuple[str, str]]) -> str:
    """Say who told what, if they did not all tell the same; else nothing."""
    by_value = defaultdict(list)
    for value, name in told:
        by_value[value].append(name)
    if len(by_value) < 2:
        return ""
    return "; ".join(f"{value} ({_some(who)})" for value, who in sorted(by_value.items()))


def _some(who: Sequence[str]) -> str:
    more = f" and {len(who) - SHOWN} more" if len(who) > SHOWN else ""
    return f"{', '.join(sorted(who)[:SHOWN])}{more}"


def _clocks(workers: Sequence[WorkerInfo]) -> Iterator[Finding]:
    for worker in workers:
        offset = worker.clock_offset or 0.0
        if abs(offset) > APART:
            way = "ahead of" if offset > 0 else "behind"
            yield Finding(
                "clocks",
                False,
                f"that of worker {worker.name} on {worker.hostname} is {abs(offset):,.0f} s {way} "
                "the database's",
                "synchronise both by NTP; times that an application computes are wrong meanwhile",
            )


def _plugins(workers: Sequence[WorkerInfo]) -> Iterator[Finding]:
    """Say which plugins have failed, by what workers tell of them: each hook once."""
    found: dict[tuple[str, str, str], list[tuple[Fault, str]]] = defaultdict(list)
    for worker in workers:
        for fault in worker.faults:
            found[fault.plugin, fault.origin, fault.hook].append((fault, worker.name))
    latest = sorted(found.values(), key=lambda told: min(fault.ago for fault, _ in told))
    for told in latest[:FAULTS]:
        last = min((fault for fault, _ in told), key=lambda fault: fault.ago)
        times = sum(fault.times for fault, _ in told)
        who = f"on {_some([name for _, name in told])}"
        often = (
            f"has failed {times:,} times {who}, last {last.ago:,.0f} s ago"
            if times
            else f"cannot do its work {who}"
        )
        yield Finding(
            "plugins",
            False if last.ago < FRESH else None,
            f"{last.plugin} ({last.origin}): {last.hook} {often}: {last.said}",
            "look into the log of that worker; to do without it: CHANCY_DISABLED_PLUGINS="
            f"chancy.plugins:{last.plugin}",
        )


def _unfit(queues: Queues) -> Iterator[Finding]:
    for problem in queues.unsound.values():
        yield Finding("queues", False, problem, "declare it anew, with upsert=True")
    for queue in queues.sound:
        try:
            find_executor(queue)
        except ChancyError as exc:
            yield Finding("queues", False, str(exc))


def _taken(waiting: Waiting, queues: Queues, workers: Sequence[WorkerInfo]) -> Finding:
    """Say whether somebody alive takes the jobs of a queue that are due."""
    says = f"{waiting.count:,} jobs of {waiting.queue!r} wait, the first since {_at(waiting.since)}"
    if waiting.queue in queues.unsound:
        return Finding("jobs", False, f"{says}: the queue's row makes no sense")
    queue = next((queue for queue in queues.sound if queue.name == waiting.queue), None)
    if queue is None:
        remedy = f"chancy queue declare {waiting.queue}"
        return Finding("jobs", False, f"{says}: no such queue is declared", remedy)
    if queue.state == "paused":
        remedy = f"chancy queue resume {waiting.queue}"
        return Finding("jobs", None, f"{says}: the queue is paused", remedy)
    if _takers(queue, workers):
        return Finding("jobs", True, says)
    return Finding(
        "jobs",
        False,
        f"{says}: no live worker takes them",
        f"start one that has a tag for {', '.join(sorted(queue.tags))}, and is not kept to others",
    )


def _takers(queue: Queue, workers: Sequence[WorkerInfo]) -> list[WorkerInfo]:
    return [worker for worker in workers if worker.matches(queue) and _keeps_to(worker, queue)]


def _keeps_to(worker: WorkerInfo, queue: Queue) -> bool:
    only = (worker.settings or {}).get("queues")
    return not isinstance(only, list) or queue.name in only


def _aside(aside: Aside) -> Finding:
    filters = f"--state {aside.state} --queue {aside.queue}"
    return Finding(
        "jobs",
        False,
        f"{aside.count:,} of {aside.queue!r} are {aside.state}: their workers died, the first "
        f"on {_at(aside.since)}",
        f"look at them by `chancy job list {filters}`, then retry or purge them",
    )


def _unknown(refused: Refused, queues: Queues, workers: Sequence[WorkerInfo]) -> Finding:
    """Say who does not know what jobs call; it is wrong unless somebody may yet know it."""
    takers = {w.name for q in queues.sound if q.name == refused.queue for w in _takers(q, workers)}
    hope = refused.times < ENOUGH and takers - refused.by
    many = "at least " if refused.count >= MANY else ""
    version = f" with arguments of version {refused.version}" if refused.version else ""
    return Finding(
        "functions",
        None if hope else False,
        f"{many}{refused.count:,} jobs of {refused.queue!r}, the first of {_at(refused.since)}, "
        f"call {refused.func!r}{version}; refused by {_some(list(refused.by)) or 'somebody'}: "
        f"{refused.said}",
        "let workers of this queue run code that has it; if it was renamed, name it among the "
        "aliases of what it is now. After an hour of refusals such a job fails",
    )


def _at(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M %Z}"
