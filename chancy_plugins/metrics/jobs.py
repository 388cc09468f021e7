"""What becomes of jobs, as metrics: put together batch by batch, since each job counts.

This is what the drain of jobs pays for being measured, so it is kept as cheap as can be.
"""

from collections.abc import Iterator, Sequence

from chancy_core.job import State
from chancy_core.outcome import COUNTED, Kind, Settlement
from chancy_plugins.metrics.key import Key, MetricKind
from chancy_plugins.metrics.tally import Cell, Tally

#: How many functions, queues and endings are told apart; what comes last is of `OTHERS`.
MOST = 1_000
OTHERS = "(others)"
#: How a function, a queue, an ending and what became of the job are told apart.
Group = tuple[str, str, Kind, State]

_COUNTER, _HISTOGRAM = MetricKind.COUNTER, MetricKind.HISTOGRAM


class _Settled:
    """What became of the jobs of one group."""

    __slots__ = ("attempts", "took", "waited")

    def __init__(self) -> None:
        self.attempts = 0
        self.took = Cell()
        self.waited = Cell()

    def put(self, took: Sequence[float], waited: Sequence[float]) -> None:
        """Put times to those that are there, in seconds."""
        self.took.observe(took)
        self.waited.observe([seconds if seconds > 0 else 0.0 for seconds in waited])


class Jobs:
    """What became of the jobs of one worker, until it is poured into a tally."""

    def __init__(self) -> None:
        self._groups: dict[Group, _Settled] = {}

    def note(self, settled: Sequence[Settlement]) -> None:
        """Count attempts, how long they took, and how long their jobs had waited."""
        func = queue = kind = state = None
        known, counted = _Settled(), False
        took: list[float] = []
        waited: list[float] = []
        for one in settled:
            job = one.job
            # Most are like the one before, and comparing is cheaper than hashing.
            if (
                one.outcome.kind is not kind
                or one.verdict.state is not state
                or job.func != func
                or job.queue != queue
            ):
                known.put(took, waited)
                func, queue = job.func, job.queue
                kind, state = one.outcome.kind, one.verdict.state
                group = (func, queue, kind, state)
                known, counted = self._groups.get(group) or self._begin(group), kind in COUNTED
                took, waited = [], []
            known.attempts += 1
            if one.seconds is None:
                continue
            if counted:
                took.append(one.seconds)
            # Once it was given back nobody knows any more since when it has waited.
            started, due = job.started_at, job.scheduled_at
            if job.claims == 1 and started is not None and due is not None:
                since = job.created_at
                if due > since:  # noqa: PLR1730 - max() takes twice as long
                    since = due
                waited.append((started - since).total_seconds())
        known.put(took, waited)

    def _begin(self, group: Group) -> _Settled:
        if len(self._groups) >= MOST:
            group = (OTHERS, OTHERS, *group[2:])
        return self._groups.setdefault(group, _Settled())

    def pour(self, tally: Tally) -> None:
        """Put all of it into a tally, and begin anew."""
        groups, self._groups = self._groups, {}
        for group, known in groups.items():
            for key, cell in _metrics(group, known):
                tally.put(key, cell)


def _metrics(group: Group, known: _Settled) -> Iterator[tuple[Key, Cell]]:
    func, queue, kind, state = group
    of = {"func": func, "queue": queue}
    times = _times(known.attempts)
    yield Key.of(_COUNTER, "jobs.attempts", kind=str(kind), **of), times
    if state.finished:
        yield Key.of(_COUNTER, "jobs.finished", state=str(state), **of), times
    elif kind in COUNTED:
        yield Key.of(_COUNTER, "jobs.retried", **of), times
    if known.took.count:
        yield Key.of(_HISTOGRAM, "jobs.duration", "s", **of), known.took
    if known.waited.count:
        yield Key.of(_HISTOGRAM, "jobs.wait", "s", **of), known.waited


def _times(count: int) -> Cell:
    """Return what it is to have counted up by one, so often."""
    cell = Cell()
    cell.count, cell.total = count, float(count)
    cell.low = cell.high = cell.latest = 1.0
    return cell
