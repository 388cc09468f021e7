"""The command `chancy acme report`."""

from chancy_core.cli.invocation import Here
from chancy_core.statement import Statement
from cyclopts import App

REPORT = """SELECT tenant, count(*) FROM {acme_ledger}
             WHERE settled > {now}() - make_interval(days => %(days)s)
             GROUP BY tenant ORDER BY tenant"""

app = App(name="acme", help="What Acme knows of its tenants.")


@app.command
async def report(*, days: int = 30, here: Here) -> None:
    """Show how many jobs of each tenant have succeeded in the last *days*."""
    async with here.chancy() as chancy:
        asked = Statement.written(REPORT, chancy.names, {"days": days}, list)
        rows = await chancy.database.run(asked)
    here.output.items([{"tenant": row[0], "jobs": row[1]} for row in rows], ["tenant", "jobs"])
