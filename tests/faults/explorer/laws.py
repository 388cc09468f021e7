"""What must be so after every order, whole or not: else what is wrong, in words.

The laws of `tests.faults.judge` hold for the transitions. The others compare what each session was
told with what became of the rows.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg

from chancy import State
from chancy_core.errors import LeaseLost, QueueNotFound
from chancy_core.filter import Answer
from tests.faults import judge
from tests.faults.explorer.played import Played
from tests.faults.history import History, Moved, Said

Law = Callable[[Played], Iterator[str]]


def no_error(played: Played) -> Iterator[str]:
    """Nobody gets an error that its caller does not expect: no deadlock, above all."""
    for letter, answer in played.answers.items():
        if isinstance(answer, psycopg.Error):
            yield f"{letter} got {type(answer).__name__}: {answer}"
        elif isinstance(answer, QueueNotFound) and not played.does("delete_queue"):
            yield f"{letter} got {answer!r}"


def transitions(played: Played) -> Iterator[str]:
    """A lease is granted to one at a time and ends once; finished is final; keys are unique."""
    said = tuple(
        Said(0, kind, job=job)
        for kind, asker in (("retrying", "retry"), ("purging", "purge"))
        for job in played.situation.jobs
        if played.does(asker)
    )
    history = History(said, played.moved)
    for law in (judge.one_outcome, judge.with_the_current_lease, judge.bounded, judge.unique):
        yield from map(str, law(history))


#: The arrows of docs/design/states.md, from live to live, and from live to finished.
ARROWS = {
    ("scheduled", "pending"),
    ("pending", "running"),
    ("running", "pending"),
    ("running", "scheduled"),
    ("scheduled", "cancelled"),
    ("pending", "cancelled"),
} | {("running", str(state)) for state in State if state.finished}


def only_by_arrows(played: Played) -> Iterator[str]:
    """A job goes from one state to another only where the picture of states has an arrow."""
    for job in {move.job for move in played.moved}:
        left: str | None = None
        for move in _of(played, job):
            old = left if move.op == "finished" else move.old
            if move.op in {"changed", "finished"} and (old, move.new) not in ARROWS:
                yield f"job {job} went from {old} to {move.new}"
            left = move.old if move.op == "left" else None


def nobody_is_robbed(played: Played) -> Iterator[str]:
    """Jobs are taken back from those alone who are dead."""
    if played.does("fail", "leave", "audit"):  # these give back what they hold themselves
        return
    dead = played.situation.leases if played.situation.name == "orphaned" else ()
    for move in played.moved:
        if (move.old, move.new) == ("running", "pending") and move.old_lease not in dead:
            yield f"job {move.job} was taken from a worker that lives"


def nothing_is_lost(played: Played) -> Iterator[str]:
    """A job is live or in the history, and not both; it is gone only if that was asked for."""
    places = Counter(row[0] for row in (*played.live, *played.finished))
    there = set(played.situation.jobs) | {move.job for move in played.moved}
    for job in there:
        if places[job] > 1:
            yield f"job {job} is in {places[job]} places"
        elif not places[job] and not played.does("purge", "delete_queue"):
            yield f"job {job} is lost"


def outcomes_count_once(played: Played) -> Iterator[str]:
    """Who is told that an outcome counted finds it under its lease, and what went along, once."""
    counted: dict[UUID, set[UUID]] = {}
    for name in ("succeed", "fail", "work"):
        for _, answer in played.told(name):
            for job in answer if isinstance(answer, set) else ():
                counted.setdefault(job, set())
    for job in counted:
        leases = {_lease(move) for move in _of(played, job)} & set(played.effects)
        if not leases:
            yield f"job {job}: its outcome counted, but nothing was written along"
    for lease, times in Counter(played.effects).items():
        ends = [move for move in played.moved if _lease(move) == lease]
        if times > 1 or len(ends) != 1:
            yield f"lease {lease}: written along {times} times, ended {len(ends)} times"


def _lease(move: Moved) -> UUID | None:
    """The lease that ended by this move."""
    return move.old_lease if move.op in {"changed", "left"} else None


def completed(played: Played) -> Iterator[str]:
    """A job completed itself if, and only if, what it wrote with it is there."""
    for _, answer in played.told("complete"):
        if isinstance(answer, LeaseLost):
            continue
        ends = [m for m in _of(played, answer) if m.op == "finished" and m.new == "succeeded"]
        if not any(move.new_lease in played.effects for move in ends):
            yield f"job {answer} was completed, which is not in the history"


def cancelled_is_cancelled(played: Played) -> Iterator[str]:
    """Who is told `cancelled` is right for good; a job that is marked does not wait again."""
    for answer in _bulk(played, "cancel"):
        states = [move.new for move in _of(played, answer.id) if move.op == "finished"]
        if answer.what == "cancelled" and "cancelled" not in states:
            yield f"job {answer.id} was said to be cancelled, but ended {states or 'nowhere'}"
        elif answer.what == "cancelled" and not played.does("retry") and states != ["cancelled"]:
            yield f"job {answer.id} was said to be cancelled, but became {states}"
        elif not answer.done and answer.what in _of_state(*LIVE):
            yield f"job {answer.id} could have been cancelled: {answer.what}"
    for id_, state, _, _, cancelling, _ in played.live:
        if cancelling and state != "running":
            yield f"job {id_} is wanted cancelled, and is {state}"


LIVE = ("scheduled", "pending", "running")


def _of_state(*states: str) -> set[str]:
    return {f"it is {state}" for state in states}


def retried_is_retried(played: Played) -> Iterator[str]:
    """Who is told that a job was brought back is right, and so is who is told why not."""
    for answer in _bulk(played, "retry"):
        moves = _of(played, answer.id)
        if answer.done and not any(m.op == "came" or m.old == "scheduled" for m in moves[1:]):
            yield f"job {answer.id} was said to be retried"
        elif "unique key" in answer.what:
            key = played.situation.key(answer.id)
            if not any(m.unique_key == key and m.job != answer.id for m in played.moved):
                yield f"job {answer.id} was not retried: {answer.what}, but none ever did"
        elif not answer.done and answer.what in _of_state(*set(State) - {"pending", "running"}):
            yield f"job {answer.id} could have been retried: {answer.what}"


def purged_is_gone(played: Played) -> Iterator[str]:
    """Who is told that a job was purged finds it nowhere; only what runs is left."""
    there = {row[0] for row in (*played.live, *played.finished)}
    for answer in _bulk(played, "purge"):
        if answer.done and answer.id in there:
            yield f"job {answer.id} was said to be purged, and is there"
        elif not answer.done and answer.what in _of_state(*set(State) - {"running"}):
            yield f"job {answer.id} could have been purged: {answer.what}"


def pushed_is_there(played: Played) -> Iterator[str]:
    """Each push has a job to show, and a push in doubt came once."""
    came = Counter(move.job for move in played.moved if move.op == "came")
    for _, answer in played.told("push"):
        for reference in answer if isinstance(answer, list) else ():
            if not came[reference.id]:
                yield f"a push refers to job {reference.id}, which never came"
    for _, answer in played.told("push_again"):
        if isinstance(answer, set) and answer != set(played.situation.pushed):
            yield f"of a push in doubt only {answer} arrived"
    for job in played.situation.pushed:
        if came[job] > 1:
            yield f"job {job} was pushed once, and came {came[job]} times"


def nobody_leaves_jobs_behind(played: Played) -> Iterator[str]:
    """A worker that has left holds nothing."""
    if any(isinstance(answer, dict) for _, answer in played.told("leave")):
        for id_, state, worker, *_ in played.live:
            if state == "running" and worker == played.situation.holder:
                yield f"job {id_} runs on a worker that has left"


def taken_back(played: Played) -> Iterator[str]:
    """What is said to have been given back or rescued was, and nobody who is alive is robbed."""
    for name in ("leave", "audit", "rescue"):
        for _, answer in played.told(name):
            for job, (_, state) in answer.items() if isinstance(answer, dict) else ():
                if not any(m.new == state and m.op != "came" for m in _of(played, job)):
                    yield f"job {job} was said to be taken back as {state}"
    renewed = any(answer is not None for _, answer in played.told("renew"))
    rescued = any(answer for _, answer in played.told("rescue") if isinstance(answer, dict))
    if renewed and rescued and not played.does("leave"):
        yield "a worker renewed its lease, and its jobs were taken from it"


def paused_gives_nothing(played: Played) -> Iterator[str]:
    """A claim that began after a pause was committed gets nothing."""
    if played.does("resume", "delete_queue"):
        return
    paused = {letter for letter, answer in played.told("pause") if answer is None}
    since = [n for n, s in enumerate(played.steps) if s.letter in paused and s.says == "commit"]
    for step in played.steps[since[0] + 1 :] if since else ():
        if step.says in {"claim", "claim_one"} and step.answer not in ([], "waits"):
            yield f"{step.letter} claimed of a queue that had been paused"


def rate_is_kept(played: Played) -> Iterator[str]:
    """A queue with a limit of ten in eleven days begins one job at once."""
    if played.situation.name == "limited" and not played.does(
        "claim_one", "declare", "delete_queue"
    ):
        begun = [move for move in played.moved if move.new == "running"]
        if len(begun) > 1:
            yield f"{len(begun)} jobs were begun, and one was allowed"


def _of(played: Played, job: UUID) -> list[Moved]:
    return [move for move in played.moved if move.job == job]


def _bulk(played: Played, name: str) -> list[Answer]:
    told: list[Any] = [answer for _, answer in played.told(name)]
    return [one for answer in told if isinstance(answer, list) for one in answer]


LAWS: tuple[Law, ...] = (
    no_error,
    transitions,
    only_by_arrows,
    nobody_is_robbed,
    nothing_is_lost,
    outcomes_count_once,
    completed,
    cancelled_is_cancelled,
    retried_is_retried,
    purged_is_gone,
    pushed_is_there,
    nobody_leaves_jobs_behind,
    taken_back,
    paused_gives_nothing,
    rate_is_kept,
)


def wrong(played: Played) -> list[str]:
    """All that is wrong with what was played."""
    return [f"{law.__name__}: {says}" for law in LAWS for says in law(played)]
