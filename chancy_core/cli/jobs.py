"""`chancy job`: what became of jobs, and what is to become of them."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from attrs import asdict
from cyclopts import App, Parameter

from chancy_core.cli import failing
from chancy_core.cli.asking import ensure
from chancy_core.cli.choosing import Choice, Flag, Which, Yes, each
from chancy_core.cli.documents import job_document
from chancy_core.cli.failing import Refused
from chancy_core.cli.invocation import Here, Invocation

if TYPE_CHECKING:
    from chancy_core.app import Chancy
    from chancy_core.filter import Answer

app = App(name="job", help="List, show, retry, cancel and purge jobs.")
_COLUMNS = ("id", "state", "queue", "func", "attempts", "created_at", "finished_at")
#: The most that one page of a list can have.
_PAGE = 10_000

Act = Callable[[Sequence[UUID]], "Awaitable[list[Answer]]"]


@app.command(name="list")
async def list_(
    *,
    which: Which = Which(),  # noqa: B008 - it is frozen
    limit: Annotated[int, Parameter(alias="-n")] = 50,
    here: Here,
) -> None:
    """List jobs, live and finished, the newest first.

    Parameters
    ----------
    limit
        How many, up to 10,000; 50 otherwise.
    """
    if not 1 <= limit <= _PAGE:
        raise Refused(f"--limit is 1 to {_PAGE:,}, not {limit:,}")
    async with here.chancy() as chancy:
        page = await chancy.list_jobs(which.filter(), limit=limit)
    here.output.items(map(job_document, page.jobs), _COLUMNS, "no such jobs")
    if page.next is not None:
        here.output.say(f"there are more than these {limit}; --limit shows up to {_PAGE:,}")


@app.command
async def show(id: UUID, /, *, here: Here) -> None:  # noqa: A002 - what it is
    """Show all that is known of a job.

    Parameters
    ----------
    id
        The job's id, which `chancy push` answered.
    """
    async with here.chancy() as chancy:
        here.output.item(job_document(await chancy.get_job(id)))


@app.command
async def retry(
    *ids: UUID,
    which: Which = Which(),  # noqa: B008 - it is frozen
    all: Flag = False,  # noqa: A002 - what it is
    dry_run: Flag = False,
    here: Here,
) -> int:
    """Run jobs once more that are finished, or wait for later.

    Parameters
    ----------
    ids
        Their ids; or say what they have in common.
    all
        All jobs that there are.
    dry_run
        Only say how many are meant.
    """
    choice = Choice(ids=ids, which=which, everything=all)
    return await _bulk(
        choice, lambda chancy: chancy.retry_jobs, "retry", here, dry_run=dry_run, yes=True
    )


@app.command
async def cancel(
    *ids: UUID,
    which: Which = Which(),  # noqa: B008 - it is frozen
    all: Flag = False,  # noqa: A002 - what it is
    dry_run: Flag = False,
    yes: Yes = False,
    here: Here,
) -> int:
    """Cancel jobs: one that waits is cancelled at once, one that runs is told to end.

    Parameters
    ----------
    ids
        Their ids; or say what they have in common.
    all
        All jobs that there are.
    dry_run
        Only say how many are meant.
    yes
        Do not ask.
    """
    choice = Choice(ids=ids, which=which, everything=all)
    return await _bulk(
        choice, lambda chancy: chancy.cancel_jobs, "cancel", here, dry_run=dry_run, yes=yes
    )


@app.command
async def purge(
    *ids: UUID,
    which: Which = Which(),  # noqa: B008 - it is frozen
    all: Flag = False,  # noqa: A002 - what it is
    dry_run: Flag = False,
    yes: Yes = False,
    here: Here,
) -> int:
    """Delete jobs that do not run, live or finished.

    Parameters
    ----------
    ids
        Their ids; or say what they have in common.
    all
        All jobs that there are.
    dry_run
        Only say how many are meant.
    yes
        Do not ask.
    """
    choice = Choice(ids=ids, which=which, everything=all)
    return await _bulk(
        choice, lambda chancy: chancy.purge_jobs, "purge", here, dry_run=dry_run, yes=yes
    )


async def _bulk(
    choice: Choice,
    act: "Callable[[Chancy], Act]",
    what: str,
    here: Invocation,
    *,
    dry_run: bool,
    yes: bool,
) -> int:
    """Do it to the jobs that are meant, and answer for each; 1 if one that was named is skipped."""
    output = here.output
    async with here.chancy() as chancy:
        ids = await choice.find(chancy, output)
        if dry_run:
            output.item({"jobs": len(ids)}, f"{len(ids):,} jobs are meant")
            return failing.DONE
        await ensure(f"{what.capitalize()} {len(ids):,} jobs?", output, yes=yes or bool(choice.ids))
        answers = [answer async for answer in each(ids, act(chancy), what, output)]
    if output.as_json or choice.ids:
        output.items((asdict(answer) for answer in answers), ("id", "done", "what"))
    else:
        counts = Counter((answer.done, answer.what) for answer in answers)
        for (done, why), count in counts.most_common():
            output.item(None, f"{count:,} {why}" if done else f"{count:,} skipped: {why}")
        if not answers:
            output.say("no such jobs")
    skipped = [answer for answer in answers if not answer.done]
    return failing.FAILED if choice.ids and skipped else failing.DONE
