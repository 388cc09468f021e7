"""`chancy cron`, as a person types it and as a program calls it."""

import json
import re
from collections.abc import Iterator

import anyio
import pytest

from chancy import Chancy, Job
from chancy_plugins.cron import Cron
from tests.terminal import Shell

APP = """

from chancy_plugins.cron import cron


@cron("30 2 * * MON", tz="Europe/Paris", key="weekly")
@job(queue="reports")
async def weekly() -> None: ...
"""


@pytest.fixture
def chancy(dsn: str) -> Iterator[Chancy]:
    with Chancy(dsn) as chancy:
        yield chancy


@pytest.fixture
def listed(shell: Shell, dsn: str) -> Shell:
    """A shell with an application whose database has an entry of its code, and others."""
    (shell.folder / "app.py").write_text((shell.folder / "app.py").read_text() + APP)

    async def declare() -> None:
        async with Chancy(dsn) as chancy:
            cron = Cron(chancy)
            welcome = Job("app.welcome", kwargs={"name": "Ada"}, queue="mail")
            await cron.declare("0 3 * * *", welcome, key="ada", tz="Europe/Paris")
            await cron.declare("@hourly", welcome, key="old")
            await cron.declare("@hourly", welcome, key="broken")
            async with chancy.store.pool.connection() as conn:
                await conn.execute("UPDATE chancy_crons SET in_code = true WHERE key = 'old'")
                await conn.execute("UPDATE chancy_crons SET tz = 'Mars' WHERE key = 'broken'")

    anyio.run(declare)
    return shell


def test_list_says_when_each_runs_next(listed: Shell) -> None:
    shown = listed.people("cron", "list")
    row = next(line for line in shown.splitlines() if line.startswith("ada"))
    assert re.search(
        r"in \d+ (min|h), (Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d+ \w{3} (20\d\d )?03:00 Europe/Paris", row
    )
    assert "At 03:00" in row
    told = {value["key"]: value for value in listed.programs("cron", "list", "--runs", "3").values}
    assert told.keys() == {"ada", "old", "broken"}
    assert len(told["ada"]["next_at"]) == len(told["ada"]["next"].split("; ")) == 3
    assert (told["ada"]["state"], told["ada"]["func"]) == ("active", "app.welcome")
    assert told["old"]["state"] == "active, not in this code"
    assert "broken is broken: time zone 'Mars': there is none of this name here" in shown
    assert (told["broken"]["state"], told["broken"]["problem"][:16]) == (
        "broken",
        "time zone 'Mars'",
    )
    assert (told["broken"]["next"], told["broken"]["next_at"]) == (None, [])
    assert "--runs is 1 to 100" in listed.people("cron", "list", "--runs", "0", code=2)


def test_pause_and_resume(listed: Shell) -> None:
    paused = listed.programs("cron", "pause", "ada").value
    assert (paused["state"], paused["paused"], paused["next"]) == ("paused", True, None)
    assert "paused" in listed.people("cron", "list")
    assert "03:00 Europe/Paris" in listed.people("cron", "resume", "ada")
    assert listed.programs("cron", "resume", "ada").value["state"] == "active"
    assert "paused" in listed.people("cron", "pause", "ada")


def test_trigger_and_fires(listed: Shell, chancy: Chancy) -> None:
    id_ = listed.people("cron", "trigger", "ada").strip()
    pushed = chancy.sync_get_job(id_)
    assert (pushed.func, pushed.kwargs, pushed.queue) == ("app.welcome", {"name": "Ada"}, "mail")
    assert pushed.meta["cron"]["triggered"] is True
    told = listed.programs("cron", "trigger", "ada").value
    assert told["new"] is True
    fires = listed.programs("cron", "fires", "ada").values
    assert [(fire["tick"], fire["job"]) for fire in fires] == [(None, told["id"]), (None, id_)]
    assert id_ in listed.people("cron", "fires", "ada", "--limit", "5")
    assert "it has not run yet" in listed.people("cron", "fires", "old")


def test_delete(listed: Shell) -> None:
    assert "deleted" in listed.people("cron", "delete", "ada", answer="y\n")
    assert listed.programs("cron", "delete", "old", "--yes").value == {"key": "old"}
    told = listed.programs("cron", "delete", "ada", "--yes", code=2)
    assert "no cron entry has the key 'ada'" in json.loads(told.err)["message"]


def test_it_is_on_the_first_page(bare: Shell) -> None:
    shown = bare.people("--help")
    assert re.search(r"From shipped plugins\n  cron +\(chancy\)", shown)
    assert "trigger" in bare.people("cron", "--help")


def test_without_its_tables_it_says_what_to_run(shell: Shell, empty_dsn: str) -> None:
    assert "run `chancy migrate`" in shell.people("cron", "list", code=2, CHANCY_DSN=empty_dsn)
