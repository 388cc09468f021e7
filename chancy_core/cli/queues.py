"""`chancy queue`: what queues there are, and how they are changed while workers run them."""

import json
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from chancy_core.cli.asking import ensure
from chancy_core.cli.documents import queue_document
from chancy_core.cli.failing import Refused
from chancy_core.cli.invocation import Here
from chancy_core.cli.times import Duration, Instant
from chancy_core.errors import QueueNotFound
from chancy_core.queue import Queue

if TYPE_CHECKING:
    from chancy_core.app import Chancy

app = App(name="queue", help="List, declare and change queues.")
_COLUMNS = ("name", "state", "executor", "concurrency", "tags", "rate_limit", "resume_at")


@app.command(name="list")
async def list_(*, here: Here) -> None:
    """List all queues, by name."""
    async with here.chancy() as chancy:
        queues = await chancy.get_all_queues()
    here.output.items(map(queue_document, queues), _COLUMNS, "no queue was declared yet")


@app.command
async def show(name: str, /, *, here: Here) -> None:
    """Show all settings of a queue."""
    async with here.chancy() as chancy:
        here.output.item(queue_document(await chancy.get_queue(name)))


def _object(_: Any, tokens: Any) -> dict[str, Any]:
    value = json.loads(tokens[0].value)
    if not isinstance(value, dict):
        raise ValueError(f"{tokens[0].value} is no JSON object")  # noqa: TRY004 - cyclopts' way
    return value


@app.command
async def declare(
    name: str,
    /,
    *,
    executor: str | None = None,
    concurrency: int | None = None,
    tag: tuple[str, ...] = (),
    rate_limit: int | None = None,
    rate_limit_window: Duration = None,
    polling_interval: Duration = None,
    eager_polling: bool | None = None,
    executor_options: Annotated[
        dict[str, Any] | None, Parameter(converter=_object, accepts_keys=False, n_tokens=1)
    ] = None,
    paused: bool | None = None,
    upsert: Annotated[bool, Parameter(negative=())] = False,
    unchecked: Annotated[bool, Parameter(negative=())] = False,
    here: Here,
) -> None:
    """Declare a queue. One that exists keeps its settings, unless you say --upsert.

    Parameters
    ----------
    executor
        What runs its jobs: async, thread, process, or what a package offers.
    concurrency
        How many jobs run at once, on each worker.
    tag
        Which workers run it: a regular expression; may be given several times.
    rate_limit
        How many jobs may begin in a window, on all workers together.
    rate_limit_window
        The window: 1, 10m, 2h.
    polling_interval
        After how long a worker looks for jobs though nothing woke it.
    eager_polling
        Look for jobs after each that ends.
    executor_options
        What the executor can be told, as a JSON object.
    paused
        Begin no jobs of it, or do so again.
    upsert
        Change what is said here of a queue that exists; the rest stays as it is.
    unchecked
        Declare it though its executor is not installed here.
    """
    given = {
        "executor": executor,
        "concurrency": concurrency,
        "tags": frozenset(tag) or None,
        "rate_limit": rate_limit,
        "rate_limit_window": rate_limit_window and rate_limit_window.total_seconds(),
        "polling_interval": polling_interval and polling_interval.total_seconds(),
        "eager_polling": eager_polling,
        "executor_options": executor_options,
        "state": None if paused is None else Queue.State.PAUSED if paused else Queue.State.ACTIVE,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    async with here.chancy() as chancy:
        asked = await _as_it_is(chancy, name) if upsert else Queue(name)
        stored = await chancy.declare(asked.options(**changes), upsert=upsert, check=not unchecked)
    if any(getattr(stored, key) != value for key, value in changes.items()):
        here.output.say(f"queue {name!r} was there and keeps its settings; --upsert changes them")
    here.output.item(queue_document(stored))


async def _as_it_is(chancy: "Chancy", name: str) -> Queue:
    """Return a queue as it is stored, to be changed in all but whether it is paused."""
    try:
        return (await chancy.get_queue(name)).options(state=None, resume_at=None)
    except QueueNotFound:
        return Queue(name)


@app.command
async def scale(name: str, concurrency: int | None = None, /, *, here: Here) -> None:
    """Have a queue run so many jobs at once, on each worker; without a number, as many as suits.

    Parameters
    ----------
    concurrency
        1 to 10,000; left out it is the executor's own.
    """
    async with here.chancy() as chancy:
        asked = (await chancy.get_queue(name)).options(state=None, resume_at=None)
        changed = asked.options(concurrency=concurrency)
        stored = await chancy.declare(changed, upsert=True, check=False)
    here.output.item(queue_document(stored))


@app.command
async def pause(
    name: str,
    /,
    *,
    for_: Annotated[Duration, Parameter(name="--for")] = None,
    until: Instant = None,
    here: Here,
) -> None:
    """Have no more jobs of a queue begun; what runs comes to its end.

    Parameters
    ----------
    for_
        End the pause after this: 90, 10m, 2h.
    until
        End the pause at this time: 2026-12-24T18:00.
    """
    if for_ is not None and until is not None:
        raise Refused("--for and --until are two ways to say one thing: say one of them")
    async with here.chancy() as chancy:
        await chancy.pause_queue(name, resume_at=for_ if for_ is not None else until)
        here.output.item(queue_document(await chancy.get_queue(name)))


@app.command
async def resume(name: str, /, *, here: Here) -> None:
    """End the pause of a queue."""
    async with here.chancy() as chancy:
        await chancy.resume_queue(name)
        here.output.item(queue_document(await chancy.get_queue(name)))


@app.command
async def delete(
    name: str,
    /,
    *,
    keep_jobs: Annotated[bool, Parameter(negative=())] = False,
    yes: Annotated[bool, Parameter(negative=(), alias="-y")] = False,
    here: Here,
) -> None:
    """Delete a queue, and the jobs that wait in it.

    Parameters
    ----------
    keep_jobs
        Leave its waiting jobs; they run when it is declared again.
    yes
        Do not ask.
    """
    async with here.chancy() as chancy:
        await chancy.get_queue(name)
        what = "" if keep_jobs else ", and the jobs that wait in it"
        await ensure(f"Delete the queue {name!r}{what}?", here.output, yes=yes)
        purged = await chancy.delete_queue(name, purge_jobs=not keep_jobs)
    here.output.item({"name": name, "purged": purged}, f"deleted, with {purged:,} waiting jobs")
