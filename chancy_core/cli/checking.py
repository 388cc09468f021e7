"""`chancy check`: whether anything would keep it from working, before it does."""

import os
from collections.abc import Iterator

from attrs import asdict

from chancy_core import discovery, registry
from chancy_core.cli import failing
from chancy_core.cli.invocation import Here, Invocation
from chancy_core.cli.plugging import problem
from chancy_core.diagnosis import Finding, diagnose
from chancy_core.errors import ChancyError


async def check(*, here: Here) -> int:
    """Look for what threatens the promise, from plugins to workers; 1 is the exit code if any."""
    findings = [*_packages(), *_application(here)]
    if all(finding.ok is not False for finding in findings if finding.what == "application"):
        try:
            async with here.chancy() as chancy:
                findings += await diagnose(chancy)
        except ChancyError as exc:
            findings.append(Finding("database", False, str(exc)))
    here.output.items(map(asdict, findings), ("what", "ok", "says", "remedy"))
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
