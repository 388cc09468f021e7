"""The door: a duty that is done by whoever leads, as a service of each worker."""

import math

from chancy_core import codec
from chancy_core.errors import InvalidValue
from chancy_core.host import Service, WorkerHost
from chancy_plugins.leadership.campaign import Campaign, Duty

#: The fewest, and the most, seconds for which a leader is trusted without a renewal.
TTL = (1.0, 3600.0)
#: The most bytes that the name of a leadership may have.
LONGEST = 200
#: The fewest seconds after which a campaign that was not heard of is taken for one that hangs.
PATIENCE = 120.0


def led(
    worker: WorkerHost,
    name: str,
    duty: Duty,
    *,
    ttl: float = 15.0,
    patience: float | None = None,
) -> Service:
    """Return a service whose *duty* is done by one worker at a time: by the leader of *name*.

        @hookimpl
        def chancy_worker_services(worker):
            async def sweep(term):
                while True:
                    await database.run(term.fence(database.names), swept)
                    await anyio.sleep(60)

            return [led(worker, "acme.sweep", sweep)]

    A leader that dies is followed by another within 4/3 of *ttl* seconds, 1 to 3,600; one that
    stops, at once. The duty is cancelled as soon as its term may be over. One that returns is done
    for this term, which lasts on; one that raises gives the leadership up. Whatever a leader does
    may happen twice without harm, or is fenced by its term: who was frozen wakes up as a leader
    of old.

    A duty that says for how many seconds it may be silent calls `term.beat()` more often than that;
    else it is taken for one that hangs, is cancelled and named, and somebody else leads.

    Raises `InvalidValue` for a name, a *ttl* or a *patience* that makes no sense.
    """
    campaign = Campaign(worker, _checked(name), duty, _seconds(ttl), _patience(patience))

    async def run() -> None:
        await campaign.run()

    service = Service(f"leadership of {name}", run, patience=max(PATIENCE, 4 * campaign.ttl))
    campaign.beat = service.beat
    return service


def _checked(name: str) -> str:
    problem = codec.unstorable(name) if isinstance(name, str) else "it must be a text"
    if problem is None and not 1 <= len(name.encode()) <= LONGEST:
        problem = f"it must have 1 to {LONGEST} bytes"
    if problem is not None:
        raise InvalidValue(f"the name of a leadership, {codec.shown(name)}: {problem}")
    return name


def _seconds(ttl: float) -> float:
    least, most = TTL
    number = isinstance(ttl, int | float) and not isinstance(ttl, bool)
    if not number or not least <= ttl <= most:
        raise InvalidValue(
            f"a leader's ttl must be {least:g} to {most:,.0f} seconds, not {codec.shown(ttl)}"
        )
    return float(ttl)


def _patience(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 < seconds < math.inf:
        raise InvalidValue(
            f"a duty's patience must be more than 0 seconds, not {codec.shown(seconds)}"
        )
    return float(seconds)
