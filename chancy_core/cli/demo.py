"""`chancy demo`: three queues on three executors read Python's standard library, and are checked.

One job for each source file and queue is pushed; one worker runs them; at the end the sums are
compared with those of a plain loop over the same files.
"""

import os
import platform
import sysconfig
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from attrs import frozen
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from chancy_core.app import Chancy
from chancy_core.cli.demo_jobs import count, digest, tokens
from chancy_core.job import Job, QueuedJob, Reference, State
from chancy_core.queue import Queue
from chancy_core.worker import Worker

#: The demo's queues: name, executor, and the function whose jobs they run.
QUEUES = (
    (Queue("count", executor="async", concurrency=16), count),
    (Queue("hash", executor="thread", concurrency=8), digest),
    (Queue("tokenise", executor="process"), tokens),
)
#: How many jobs are looked up at once while the demo waits.
PAGE = 500


@frozen
class Sums:
    """What all files together come to, by whatever way it was computed."""

    lines: int
    hashes: int
    tokens: int

    @classmethod
    def of(cls, lines: Iterable[int], digests: Iterable[str], tokens: Iterable[int]) -> "Sums":
        """Add up; hashes are added, too, so that their order does not matter."""
        return cls(sum(lines), sum(int(d, 16) for d in digests) % 2**32, sum(tokens))


def source_files() -> list[str]:
    """Return the source files of the running Python's standard library."""
    root = Path(sysconfig.get_path("stdlib"))
    installed = {"site-packages", "dist-packages"}
    return sorted(str(p) for p in root.rglob("*.py") if not installed & set(p.parts))


async def demo() -> bool:
    """Run the demo; return whether its totals agree with the plain loop's."""
    console = Console()
    files = await to_thread.run_sync(source_files)
    console.print(
        f"[bold]chancy demo[/]: {len(files):,} source files of Python {platform.python_version()}"
    )
    chancy = Chancy(prefix=f"demo_{os.getpid()}_")
    begin = time.perf_counter()
    async with chancy:
        console.print(f"  PostgreSQL is there ({time.perf_counter() - begin:.1f} s)")
        await chancy.migrate()
        try:
            jobs, seconds = await _run(chancy, files, console)
        finally:
            with anyio.CancelScope(shield=True):
                await chancy.migrate(to={"core": 0})
    ours = Sums.of(*(_results(jobs, func.name) for _, func in QUEUES))
    plain = await _plain(files, console)
    _report(console, jobs, seconds, ours, plain)
    return ours == plain and all(job.state is State.SUCCEEDED for job in jobs)


async def _run(
    chancy: Chancy, files: Sequence[str], console: Console
) -> tuple[list[QueuedJob], float]:
    """Declare, push, work and wait; return the finished jobs, and the seconds from push to end."""
    for queue, _ in QUEUES:
        await chancy.declare(queue)
    asked: list[Job] = [func.bind(path=file) for file in files for _, func in QUEUES]
    begin = time.perf_counter()
    references = await chancy.push_many(asked)
    console.print(f"  {len(references):,} jobs pushed in {time.perf_counter() - begin:.1f} s")
    async with Worker(chancy):
        jobs = await _wait(chancy, references, console)
    return jobs, time.perf_counter() - begin


async def _wait(
    chancy: Chancy, references: Sequence[Reference], console: Console
) -> list[QueuedJob]:
    finished: list[QueuedJob] = []
    with _progress(console) as progress:
        bars = {
            queue.name: progress.add_task(
                f"{queue.name} ({queue.executor})", total=len(references) // len(QUEUES)
            )
            for queue, _ in QUEUES
        }
        for start in range(0, len(references), PAGE):
            for job in await chancy.wait_for_jobs(references[start : start + PAGE]):
                finished.append(job)
                progress.advance(bars[job.queue])
    return finished


def _results(jobs: Iterable[QueuedJob], func: str) -> list[Any]:
    return [job.result() for job in jobs if job.func == func and job.state is State.SUCCEEDED]


async def _plain(files: Sequence[str], console: Console) -> Sums:
    """Do the same in a plain loop, without a queue."""
    lines, digests, numbers = [], [], []
    with _progress(console) as progress:
        for file in progress.track(files, description="a plain loop, to compare"):
            lines.append(await count(path=file))
            digests.append(digest(path=file))
            numbers.append(tokens(path=file))
    return Sums.of(lines, digests, numbers)


def _progress(console: Console) -> Progress:
    """Return a progress display; it draws nothing where nobody watches."""
    columns = (
        TextColumn("  {task.description:<26}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _report(
    console: Console, jobs: Sequence[QueuedJob], seconds: float, ours: Sums, plain: Sums
) -> None:
    table = Table(title=f"{len(jobs):,} jobs in {seconds:.1f} s, from push to settled")
    for title in ("queue", "executor"):
        table.add_column(title)
    for title in ("jobs", "succeeded", "result", "plain loop"):
        table.add_column(title, justify="right")
    pairs = (
        (f"{ours.lines:,} lines", f"{plain.lines:,}"),
        (f"hashes {ours.hashes:08x}", f"{plain.hashes:08x}"),
        (f"{ours.tokens:,} tokens", f"{plain.tokens:,}"),
    )
    for (queue, _), (result, expected) in zip(QUEUES, pairs, strict=True):
        mine = [job for job in jobs if job.queue == queue.name]
        succeeded = sum(job.state is State.SUCCEEDED for job in mine)
        counts = (f"{len(mine):,}", f"{succeeded:,}")
        table.add_row(queue.name, queue.executor, *counts, result, expected)
    console.print(table)
    if ours == plain:
        console.print("[green]The totals agree.[/]")
    else:
        console.print("[red]The totals do not agree.[/]")
