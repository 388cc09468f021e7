"""`chancy top`: what workers run, since when, and what it takes."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from cyclopts import Parameter

from chancy_core.cli.invocation import Here
from chancy_core.hint import WATCHED, Hint

if TYPE_CHECKING:
    from chancy_core.app import Chancy
    from chancy_core.store.roster import WorkerInfo

_COLUMNS = (
    *("worker", "queue", "func", "id", "runs_for", "pid", "thread", "cpu", "memory"),
    "progress",
)
#: Seconds after which workers have renewed their leases, and so told what they run, once asked.
TOLD = 6.0
#: Seconds between two looks at who has told by now.
PAUSE = 0.2
#: The fewest and the most seconds between two looks that somebody may ask for.
LEAST, MOST = 0.2, 3600.0


def _bounded(_: Any, seconds: float) -> None:
    """Refuse what would ask the database without a pause, or never again."""
    if not LEAST <= seconds <= MOST:
        raise ValueError(f"Between two looks are {LEAST} to {MOST:.0f} seconds.")


async def top(
    *,
    once: bool = False,
    every: Annotated[
        float,
        Parameter(validator=_bounded, help=f"Seconds between two looks: {LEAST} to {MOST:.0f}."),
    ] = 2.0,
    here: Here,
) -> None:
    """Show what workers run, since when, and what it takes, until it is stopped.

    A worker tells of it with each renewal of its lease, every 2.5 seconds, for as long as somebody
    watches. Processor time is in seconds; both it and memory are those of a job's own process, or
    thread, where it has one.

    Parameters
    ----------
    once
        Show it once, when the workers that are alive have told.
    """
    async with here.chancy() as chancy:
        told = await _told(chancy, TOLD)
        if once or here.output.as_json or not here.output.watched:
            here.output.items(_lines(told), _COLUMNS, "nothing runs")
            return
        with here.output.live(_COLUMNS, "nothing runs") as show:
            while True:
                show(_lines(told))
                await anyio.sleep(every)
                told = await _told(chancy, 0.0)


async def _told(chancy: "Chancy", patience: float) -> "list[WorkerInfo]":
    """Ask the living what they run; their rows, when all have told or *patience* is over."""
    chancy.hint(Hint(WATCHED, ""))
    until = anyio.current_time() + patience
    while True:
        found = [each for each in await chancy.get_all_workers() if each.alive]
        if all(each.running for each in found) or anyio.current_time() >= until:
            return found
        await anyio.sleep(PAUSE)


def _lines(workers: "list[WorkerInfo]") -> Iterator[dict[str, Any]]:
    """Yield a line for each worker itself, and one for each job that it runs."""
    for worker in workers:
        told = worker.running
        yield {
            "worker": worker.name,
            "func": "" if told else "(has not told)",
            "pid": worker.pid,
            "cpu": _seconds(told.cpu if told else None),
            "memory": _bytes(told.memory if told else None),
        }
        for job in told.jobs if told else ():
            ran = (worker.read_at or job.started_at) - job.started_at
            yield {
                "worker": worker.name,
                "queue": job.queue,
                "func": job.func,
                "id": job.id,
                "runs_for": str(timedelta(seconds=max(0, round(ran.total_seconds())))),
                "pid": job.pid,
                "thread": job.thread,
                "cpu": _seconds(job.cpu),
                "memory": _bytes(job.memory),
                "progress": job.progress and str(job.progress),
            }
        if told and told.more:
            yield {"worker": worker.name, "func": f"and {told.more:,} more"}


def _seconds(cpu: float | None) -> str | None:
    return None if cpu is None else f"{cpu:.1f} s"


def _bytes(memory: int | None) -> str | None:
    return None if memory is None else f"{memory / 2**20:,.0f} MiB"
