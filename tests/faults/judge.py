"""The laws that hold through every fault, and who broke one, by the shortest stretch of history.

The laws have the names I1 to I14. Each is a fold over the history of a run; `at_rest` asks the
database itself. I10 and I13 are about limits by key and about schedules, which are not here yet.
"""

import time
from collections.abc import Callable, Iterator, Sequence

import psycopg
from attrs import frozen

from tests.faults.history import History, Moved, Said

FINISHED = {"succeeded", "failed", "cancelled", "quarantined", "lost"}
#: Faults after which a process no longer holds what it held.
HARM = ("killed", "frozen", "cut", "stuck")
#: Seconds by which the record's clock and the database's may drift apart in a run.
CLOCKS = 0.1


@frozen
class Violation:
    """A law that was broken, and the events that show it: without one of them it would not be."""

    law: str
    says: str
    stretch: tuple[Said | Moved, ...] = ()

    def __str__(self) -> str:
        lines = "\n".join(f"    {event}" for event in sorted(self.stretch, key=lambda e: e.at))
        return f"{self.law}: {self.says}\n{lines}"


Law = Callable[[History], Iterator[Violation]]


def nothing_is_lost(history: History) -> Iterator[Violation]:
    """I1: each push that was acknowledged has ended."""
    moves = history.moves_by_job()
    purged = {event.job for event in history.of_kind("purging")}
    for event in history.of_kind("acked"):
        assert event.job is not None
        of_job = moves.get(event.job, [])
        ended = any(move.op == "finished" for move in of_job[-1:])
        if not ended and event.job not in purged:
            last = tuple(of_job[-1:])
            yield Violation("I1", f"job {event.job} was acknowledged and is lost", (event, *last))


def nothing_unpushed_runs(history: History) -> Iterator[Violation]:
    """I2: what runs was pushed, and not rolled back."""
    pushed: set[str | None] = set()
    undone: dict[str | None, Said] = {}
    for event in history.said:
        if event.kind == "pushing":
            pushed.update(event.what.get("labels", ()), {event.label})
        elif event.kind == "rolled_back":
            undone[event.label] = event
        elif event.kind == "begin":
            if event.label not in pushed:
                yield Violation("I2", f"{event.label} runs and was never pushed", (event,))
            elif event.label in undone:
                yield Violation(
                    "I2", f"{event.label} runs and was rolled back", (undone[event.label], event)
                )


def one_live_holder(history: History) -> Iterator[Violation]:
    """I3: while a job runs it begins nowhere else, unless its first holder came to harm.

    A function that blocks is deaf: it is left behind when its worker is told to stop. Who is frozen
    between the last look at a lease and the first line of a job begins it as it wakes.
    """
    harm = history.of_kind(*HARM, "terminated")
    thawed = history.of_kind("thawed")
    back = {move.old_lease: move for move in history.moved if move.old_lease is not None}
    for events in history.said_by_job().values():
        running: dict[object, Said] = {}
        for event in events:
            if event.kind == "end":
                running.pop(event.lease, None)
            elif event.kind == "begin":
                for first in running.values():
                    if not _as_it_woke(event, thawed, back.get(event.lease)):
                        yield from _twice(first, harm, back.get(first.lease), event)
                running[event.lease] = event


def _as_it_woke(begun: Said, thawed: Sequence[Said], taken: Moved | None) -> bool:
    """Whether a job is begun by a holder who was frozen while it was taken back, as it wakes."""
    return (taken is not None and taken.at <= begun.at) and any(
        thaw.what["target"] == begun.what.get("holder", begun.pid)
        and abs(begun.at - thaw.at) <= CLOCKS
        for thaw in thawed
    )


def _twice(
    first: Said, harm: Sequence[Said], taken: Moved | None, event: Said
) -> Iterator[Violation]:
    """Find fault with a beginning while *first* runs, unless its holder's harm explains it."""
    harmed = [
        h
        for h in harm
        if h.what["target"] == first.what.get("holder", first.pid)
        and h.at <= event.at
        and (h.kind in HARM or first.what.get("deaf"))
    ]
    if not harmed or taken is None or taken.at > event.at:
        why = "its holder came to no harm" if not harmed else "it was not taken back"
        shown = (first, *harmed[:1], *((taken,) if taken else ()), event)
        yield Violation("I3", f"job {event.job} began twice at once: {why}", shown)


def one_outcome(history: History) -> Iterator[Violation]:
    """I4, I6: each lease that was granted ends once, in order; what is final stays."""
    asked = {event.job for event in history.of_kind("retrying", "purging")}
    for job, moves in history.moves_by_job().items():
        before: Moved | None = None
        for move in moves:
            if move.op == "forgotten":
                wrong = None if job in asked else ("I6", "was taken out of the history")
            else:
                wrong = _wrong_step(before, move, job in asked)
            if wrong is not None:
                shown = (move,) if before is None else (before, move)
                yield Violation(wrong[0], f"job {job} {wrong[1]}", shown)
            if move.op != "forgotten":
                before = move


#: What may follow on what. A row leaves the live table and enters the history in one statement.
STEPS = {
    "came": {"changed", "left"},
    "changed": {"changed", "left"},
    "left": {"finished"},
    "finished": {"came"},
}


def _wrong_step(before: Moved | None, move: Moved, asked: bool) -> tuple[str, str] | None:
    """The law that this step of a job breaks, and how."""
    if before is None:
        return None if move.op == "came" else ("I4", "came from nowhere")
    if before.op == "finished" and not asked:
        return "I6", f"was {before.new}, and {move.op} though nobody asked for that"
    if move.op not in STEPS[before.op]:
        return "I4", f"{move.op} after it {before.op}"
    if move.op in {"changed", "left"} and move.old_lease != before.new_lease:
        return "I4", f"ended lease {move.old_lease}, but {before.new_lease} was current"
    if move.old == move.new == "running":
        return "I4", f"was granted to another while lease {move.old_lease} had no outcome"
    return None


def with_the_current_lease(history: History) -> Iterator[Violation]:
    """I5: an outcome was written by whom the job belonged to, who had come to this end."""
    ends = {event.lease: event for event in history.of_kind("end")}
    granted: dict[object, Moved] = {}
    begun = {event.job for event in history.of_kind("begin")}
    for move in history.moved:
        if move.op == "changed" and move.new == "running":
            granted[move.job] = move
        elif move.op == "finished" and move.new_lease is not None:
            last = granted.get(move.job)
            if last is None or last.new_lease != move.new_lease:
                shown = (move,) if last is None else (last, move)
                yield Violation("I5", f"job {move.job} ended under a lease it had lost", shown)
            elif move.new == "succeeded" and move.job in begun:
                end = ends.get(move.new_lease)
                if end is None or end.what.get("how") != "ok" or end.at > move.at + CLOCKS:
                    shown = (last, move) if end is None else (last, end, move)
                    yield Violation("I5", f"job {move.job} succeeded, but did not end so", shown)


def bounded(history: History) -> Iterator[Violation]:
    """I7: attempts and crashes have their limits; what may begin once begins once."""
    once = {move.job for move in history.moved if move.at_most_once}
    for move in history.moved:
        if move.attempts > move.max_attempts:
            yield Violation("I7", f"job {move.job} made {move.attempts} attempts", (move,))
        if move.crashes > history.crash_limit:
            yield Violation("I7", f"job {move.job} crashed {move.crashes} times", (move,))
    retried = {event.job for event in history.of_kind("retrying")}
    for job, events in history.said_by_job().items():
        begins = tuple(event for event in events if event.kind == "begin")
        if job in once and job not in retried and len(begins) > 1:
            yield Violation("I7", f"job {job} may begin once, and began twice", begins[:2])


def accounted(history: History) -> Iterator[Violation]:
    """I8: each beginning has a lease of its own, which was granted."""
    granted = {move.new_lease for move in history.moved if move.new == "running"}
    for job, events in history.said_by_job().items():
        first: dict[object, Said] = {}
        for event in events:
            if event.kind != "begin":
                continue
            if event.lease not in granted:
                yield Violation("I8", f"job {job} began under a lease nobody granted", (event,))
            elif event.lease in first:
                shown = (first[event.lease], event)
                yield Violation("I8", f"job {job} began twice under one lease", shown)
            first.setdefault(event.lease, event)


def unique(history: History) -> Iterator[Violation]:
    """I9: a unique key belongs to one live job at a time."""
    holders: dict[str, Moved] = {}
    for move in history.moved:
        if move.unique_key is None:
            continue
        holder = holders.get(move.unique_key)
        if move.op == "came":
            if holder is not None and holder.job != move.job:
                says = f"key {move.unique_key!r} belongs to two live jobs"
                yield Violation("I9", says, (holder, move))
            holders[move.unique_key] = move
        elif move.op == "left" and holder is not None and holder.job == move.job:
            del holders[move.unique_key]


def rate_kept(history: History) -> Iterator[Violation]:
    """I11: in any window a queue begins as many jobs as its limit and its burst allow.

    By the times that stand in their rows: a claim may be long under way after it has its own.
    """

    def began(move: Moved) -> float:
        return move.at if move.started_at is None else move.started_at

    for limit in history.limits:
        grants = [m for m in history.moved if m.queue == limit.queue and m.new == "running"]
        grants.sort(key=began)
        most = limit.jobs + limit.burst
        for first, last in zip(grants, grants[most:], strict=False):
            if began(last) - began(first) < limit.window:
                says = f"queue {limit.queue} began {most + 1} jobs within {limit.window} s"
                yield Violation("I11", says, (first, last))


def order_kept(history: History) -> Iterator[Violation]:
    """I12: one producer, one worker, one slot, one priority: in the order of the pushes."""
    for queue in sorted(history.in_order):
        places = {m.job: m.n for m in history.moved if m.op == "came" and m.queue == queue}
        again = {move.job for move in history.moved if move.claims > 1}
        before: tuple[int, Said] | None = None
        for begun in history.of_kind("begin"):
            if begun.job is None or begun.job in again or begun.job not in places:
                continue
            place = places[begun.job]
            if before is not None and before[0] > place:
                yield Violation("I12", f"queue {queue} is out of order", (before[1], begun))
            before = place, begun


LAWS: Sequence[Law] = (
    nothing_is_lost,
    nothing_unpushed_runs,
    one_live_holder,
    one_outcome,
    with_the_current_lease,
    bounded,
    accounted,
    unique,
    rate_kept,
    order_kept,
)


def judge(history: History) -> list[Violation]:
    """All that broke a law, in the order of the laws."""
    return [violation for law in LAWS for violation in law(history)]


def upheld(history: History) -> None:
    """Fail, and show what broke a law, if anything did."""
    broken = judge(history)
    shown = "\n".join(map(str, broken[:5]))
    assert not broken, f"{len(broken)} violations; the first:\n{shown}"


#: What must not be there when nothing runs, as a question that answers rows of what is.
LEFT_OVER = {
    "running under no live lease": """
        SELECT j.id::text FROM chancy_jobs j WHERE state = 'running' AND NOT EXISTS
            (SELECT FROM chancy_workers w WHERE w.id = j.worker AND NOT dead)""",
    "a transaction left open": """
        SELECT pid::text || ' ' || query FROM pg_stat_activity
         WHERE datname = current_database() AND state LIKE 'idle in transaction%'""",
    "an invalid index": """
        SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid OR NOT indisready""",
    "a lock that is waited for": """
        SELECT pid::text FROM pg_locks WHERE NOT granted""",
}


#: Who was killed is on the list until its lease has run out.
ALIVE = "SELECT name FROM chancy_workers WHERE NOT dead AND expires_at > now()"


def at_rest(dsn: str, *, workers: int = 0) -> None:
    """I14: when all is done nothing is left over, and as many workers as should live."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        for what, question in LEFT_OVER.items():
            found = conn.execute(question).fetchall()
            assert not found, f"I14: {what}: {found}"
        began = time.monotonic()
        while len(alive := conn.execute(ALIVE).fetchall()) > workers:
            waited = time.monotonic() - began
            assert waited < 15, f"I14: after {waited:.0f} s, still on the list: {alive}"
            time.sleep(0.1)
