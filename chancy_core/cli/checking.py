"""`chancy check`: whether anything would keep it from working, before it does."""

import os
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from attrs import asdict, frozen

from chancy_core import discovery, registry
from chancy_core.cli import failing
from chancy_core.cli.invocation import Here, Invocation
from chancy_core.cli.plugging import problem
from chancy_core.errors import ChancyError

if TYPE_CHECKING:
    from chancy_core.app import Chancy


@frozen
class Finding:
    """One thing that was looked at: *ok*, or not, or None for what you should know."""

    what: str
    ok: bool | None
    says: str


async def check(*, here: Here) -> int:
    """Look at plugins, application, schema and queues; 1 is the exit code if one is wrong."""
    findings = [*_packages(), *_application(here)]
    if all(finding.ok is not False for finding in findings if finding.what == "application"):
        try:
            async with here.chancy() as chancy:
                findings += [finding async for finding in _database(chancy)]
        except ChancyError as exc:
            findings.append(Finding("database", False, str(exc)))
    here.output.items(map(asdict, findings), ("what", "ok", "says"))
    return failing.FAILED if any(finding.ok is False for finding in findings) else failing.DONE


def _packages() -> Iterator[Finding]:
    for offer in discovery.survey():
        wrong = problem(offer)
        if wrong is not None:
            yield Finding("plugins", False, wrong)
    if discovery.ALLOW not in os.environ:
        others = {offer.distribution for offer in discovery.survey()} - set(_ours())
        who = f": {', '.join(sorted(others))}" if others else ""
        yield Finding(
            "plugins", None, f"{discovery.ALLOW} is not set: all that is installed comes in{who}"
        )


def _ours() -> Iterator[str]:
    for offer in discovery.survey():
        if offer.distribution.partition(" ")[0] == discovery.OURS:
            yield offer.distribution


def _application(here: Invocation) -> Iterator[Finding]:
    try:
        app = here.app
        registry.import_jobs(app.jobs)
    except (ChancyError, ImportError) as exc:
        yield Finding("application", False, str(exc))
        return
    count = len(registry.registered())
    where = here.settings.app or "none was named"
    yield Finding("application", True, f"{where}; {count} functions are registered as jobs")


async def _database(chancy: "Chancy") -> AsyncIterator[Finding]:
    from chancy_core.installed import find_executor

    async with chancy.store.pool.connection() as conn:
        lines = await chancy.migrator().status(conn)
    for line in lines:
        where = f"line {line.line!r} is at version {line.version}"
        if line.newest is None:
            yield Finding("schema", None, f"{where}, and no installed package knows it")
        else:
            yield Finding("schema", line.complaint is None, line.complaint or where)
    if any(line.complaint for line in lines):
        return
    for queue in await chancy.get_all_queues():
        try:
            find_executor(queue)
        except ChancyError as exc:
            yield Finding("queues", False, str(exc))
    alive = sum(worker.alive for worker in await chancy.get_all_workers())
    yield Finding("workers", True if alive else None, f"{alive} are alive")
