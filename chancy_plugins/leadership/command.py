"""`chancy leaders`: who leads what at this moment."""

from typing import Any

from chancy_core.cli.invocation import Here
from chancy_plugins.leadership.campaign import leaders as found
from chancy_plugins.leadership.term import Leader


async def leaders(*, here: Here) -> None:
    """List what is led by one worker of all, and by which."""
    async with here.chancy() as chancy:
        leading = await found(chancy)
    columns = ("name", "worker", "term", "since", "lease")
    here.output.items([_document(one) for one in leading], columns, "nobody leads anything")


def _document(leader: Leader) -> dict[str, Any]:
    """Return what is known of a leader, as `--json` prints it."""
    return {
        "name": leader.name,
        "worker": leader.worker,
        "term": leader.term,
        "since": leader.since,
        "lease": f"{max(0.0, leader.expires_in):.0f} s",
        "expires_in": leader.expires_in,
    }
