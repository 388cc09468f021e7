"""`chancy workers`: who works, by the rows that they keep."""

from chancy_core.cli.documents import worker_document
from chancy_core.cli.invocation import Here

_COLUMNS = ("name", "hostname", "pid", "alive", "version", "tags", "started_at", "expires_at")


async def workers(*, here: Here) -> None:
    """List workers: the living, the late, and those declared dead whose rows are still there."""
    async with here.chancy() as chancy:
        found = await chancy.get_all_workers()
    here.output.items(map(worker_document, found), _COLUMNS, "no worker has a row")
