"""`chancy cron`: what runs when, and how that is changed while workers work."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, Any

from cyclopts import App, Parameter

from chancy_core import registry
from chancy_core.cli.asking import ensure
from chancy_core.cli.invocation import Here, Invocation
from chancy_core.errors import InvalidValue
from chancy_plugins.cron import declared
from chancy_plugins.cron.calls import Cron
from chancy_plugins.cron.entry import Listed
from chancy_plugins.cron.schedule import cronsim
from chancy_plugins.cron.words import run_in_words

cronsim()  # without it no entry makes sense, and it is said here what to install

app = App(name="cron", help="List what runs when; pause, resume, trigger and delete it.")
_COLUMNS = ("key", "schedule", "means", "next", "missed", "state")
#: How many further runs can be asked for.
_MOST = 100


@app.command(name="list")
async def list_(*, runs: int = 1, here: Here) -> None:
    """List all entries, with when they run next.

    Parameters
    ----------
    runs
        How many runs of each are shown: 1 to 100.
    """
    if not 1 <= runs <= _MOST:
        raise InvalidValue(f"--runs is 1 to {_MOST}, not {runs}")
    known = _in_code(here)
    async with here.chancy() as chancy:
        entries = await Cron(chancy).entries()
    here.output.items([_document(one, runs, known) for one in entries], _COLUMNS, "no entry yet")
    for one in entries:
        if one.problem is not None and not here.output.as_json:
            here.output.say(f"{one.key} is broken: {one.problem}")


def _in_code(here: Invocation) -> Collection[str] | None:
    """Return the keys that the application's code declares; None if no code is known here."""
    registry.import_jobs(here.app.jobs)
    return declared.entries().keys() if registry.registered() else None


def _document(listed: Listed, runs: int, known: Collection[str] | None = None) -> dict[str, Any]:
    """Return what is known of an entry, as `--json` prints it."""
    entry, ticks = listed.entry, _ticks(listed, runs)
    return {
        "key": listed.key,
        "schedule": f"{listed.expression} {listed.tz}",
        "expression": listed.expression,
        "tz": listed.tz,
        "means": entry and entry.schedule.explain(),
        "next": "; ".join(_in_words(listed, tick) for tick in ticks) or None,
        "next_at": ticks,
        "next_in": listed.next_in if ticks else None,
        "func": entry and entry.job.func,
        "queue": entry and entry.job.queue,
        "missed": listed.missed,
        "jitter": listed.jitter,
        "paused": listed.paused,
        "in_code": listed.in_code,
        "problem": listed.problem,
        "state": _state(listed, known),
    }


def _in_words(listed: Listed, tick: datetime) -> str:
    assert listed.entry is not None
    assert listed.next_at is not None
    assert listed.next_in is not None
    now = listed.next_at - timedelta(seconds=listed.next_in)  # by the database's clock
    return run_in_words(tick, now, listed.entry.schedule)


def _ticks(listed: Listed, runs: int) -> list[datetime]:
    """Return the next runs; none of what is paused, or makes no sense."""
    if listed.paused or listed.entry is None or listed.next_at is None:
        return []
    ticks = [listed.next_at]
    while len(ticks) < runs and (tick := listed.entry.schedule.next(ticks[-1])):
        ticks.append(tick)
    return ticks


def _state(listed: Listed, known: Collection[str] | None) -> str:
    if listed.problem is not None:
        said = "broken"
    elif listed.paused:
        said = "paused"
    else:
        said = "active" if listed.next_at else "never again"
    lost = listed.in_code and known is not None and listed.key not in known
    return f"{said}, not in this code" if lost else said


@app.command
async def pause(key: str, /, *, here: Here) -> None:
    """Have an entry run no more, until it is resumed."""
    async with here.chancy() as chancy:
        await Cron(chancy).pause(key)
        here.output.item(_document(await Cron(chancy).entry(key), 1))


@app.command
async def resume(key: str, /, *, here: Here) -> None:
    """Let an entry run again, from now on."""
    async with here.chancy() as chancy:
        await Cron(chancy).resume(key)
        here.output.item(_document(await Cron(chancy).entry(key), 1))


@app.command
async def trigger(key: str, /, *, here: Here) -> None:
    """Run an entry now; its schedule stays as it is."""
    async with here.chancy() as chancy:
        reference = await Cron(chancy).trigger(key)
    here.output.item({"key": key, "id": reference.id, "new": reference.new}, str(reference))


@app.command
async def delete(
    key: str,
    /,
    *,
    yes: Annotated[bool, Parameter(negative=(), alias="-y")] = False,
    here: Here,
) -> None:
    """Delete an entry. One that is in the code comes back with the next worker.

    Parameters
    ----------
    yes
        Do not ask.
    """
    async with here.chancy() as chancy:
        await Cron(chancy).entry(key)
        await ensure(f"Delete the cron entry {key!r}?", here.output, yes=yes)
        await Cron(chancy).delete(key)
    here.output.item({"key": key}, "deleted")


@app.command
async def fires(key: str, /, *, limit: int = 20, here: Here) -> None:
    """Show when an entry has run, the last first.

    Parameters
    ----------
    limit
        How many of its runs are shown: 1 to 10,000.
    """
    async with here.chancy() as chancy:
        found = await Cron(chancy).fires(key, limit)
    documents = [
        {"key": fire.key, "tick": fire.tick, "fired_at": fire.fired_at, "job": fire.job}
        for fire in found
    ]
    here.output.items(documents, ("tick", "fired_at", "job"), "it has not run yet")
