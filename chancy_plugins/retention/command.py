"""`chancy retention`: what is kept for how long, and what goes."""

from datetime import timedelta
from typing import Annotated, Any

from cyclopts import App, Parameter

from chancy_core.cli.invocation import Here
from chancy_plugins.retention.calendar import DAY, Day
from chancy_plugins.retention.plugin import Retention
from chancy_plugins.retention.policy import RetentionPolicy, in_words
from chancy_plugins.retention.run import Asked

app = App(name="retention", help="Show how long finished jobs are kept; remove what may go.")
_COLUMNS = ("day", "jobs", "size", "becomes")


@app.command
async def rules(*, here: Here) -> None:
    """Show by which rules finished jobs are kept."""
    async with here.chancy() as chancy:
        policy = await Retention.of(chancy).rules_of(chancy)
    shown = [(str(rule), rule.for_) for rule in policy.rules]
    documents = [
        {"for": text.rpartition(" ")[0], "keep": in_words(kept), "seconds": kept}
        for text, kept in [*shown, (f"all else {in_words(policy.keep)}", policy.keep)]
    ]
    here.output.items(documents, ("for", "keep"))


@app.command
async def show(*, here: Here) -> None:
    """List the days of the history up to today, with their sizes, and what becomes of each."""
    async with here.chancy() as chancy:
        retention = Retention.of(chancy)
        policy, days = await retention.rules_of(chancy), await retention.days(chancy)
    past = [_document(day, policy) for day in days if day.rows or day.ended >= -DAY]
    here.output.items(past, _COLUMNS, "no day yet")


def _document(day: Day, policy: RetentionPolicy) -> dict[str, Any]:
    """Return what is known of a day, as `--json` prints it."""
    return {
        "day": str(day.day),
        "table": day.table,
        "jobs": f"~{day.rows:,}",
        "rows": day.rows,
        "size": f"{day.bytes / 2**20:,.1f} MiB",
        "bytes": day.bytes,
        "becomes": _becomes(day, policy),
        "goes_in": day.goes_in(policy),
    }


def _becomes(day: Day, policy: RetentionPolicy) -> str:
    if day.leaving:
        return "is on its way out"
    left = day.goes_in(policy)
    if left == 0:
        return "is dropped in the next run"
    looked = "is looked through in the next run"
    walked = looked if day.walk(policy, Asked(policy).rules) else ""
    dropped = "stays" if left is None else f"is dropped in {timedelta(seconds=round(left))}"
    return ", ".join(filter(None, [walked, dropped]))


@app.command
async def run(
    *,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    here: Here,
) -> int:
    """Remove now what may go; it may run beside workers. The exit code is 1 if something stayed.

    Parameters
    ----------
    dry_run
        Only say which days would be dropped, and which looked through.
    """
    async with here.chancy() as chancy:
        retention = Retention.of(chancy)
        if dry_run:
            policy, days = await retention.rules_of(chancy), await retention.days(chancy)
            found = [_document(day, policy) for day in days if _next(day, policy)]
            here.output.items(found, _COLUMNS, "nothing may go")
            return 0
        total = sum(day.rows for day in await retention.days(chancy))
        with here.output.progress("looking through the history", total) as done:
            removed = await retention.run(chancy, watch=lambda _, rows: done(rows))
    here.output.item(
        {
            "days": [str(day) for day in removed.days],
            "dropped": removed.dropped,
            "deleted": removed.deleted,
            "seconds": removed.seconds,
            "problems": list(removed.problems),
        },
        f"removed {removed}",
    )
    for problem in removed.problems:
        here.output.say(problem)
    return int(bool(removed.problems))


def _next(day: Day, policy: RetentionPolicy) -> bool:
    return day.leaving or day.goes(policy) or day.walk(policy, Asked(policy).rules) is not None
