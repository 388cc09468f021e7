"""`chancy workflow`, as a person types it and as a program calls it."""

import json
import re
from uuid import UUID, uuid4

import anyio
import pytest

from chancy import Chancy, Job
from chancy_plugins.workflow import Batch, Workflow, Workflows
from tests.terminal import Shell

JOB = Job("app.welcome", kwargs={"name": "Ada"}, queue="mail")


@pytest.fixture
def pushed(shell: Shell, dsn: str) -> tuple[Shell, UUID, UUID]:
    """A shell with an application whose database has a workflow and a batch."""
    ids: list[UUID] = []

    async def push() -> None:
        async with Chancy(dsn) as chancy:
            flow = Workflow("nightly")
            flow.add("fetch", JOB)
            flow.add("store", JOB, after="fetch")
            ids.append(await Workflows(chancy).push(flow))
            ids.append(await Workflows(chancy).push(Batch("import", [JOB] * 3)))

    anyio.run(push)
    return shell, ids[0], ids[1]


def test_list_shows_how_far_each_is(pushed: tuple[Shell, UUID, UUID]) -> None:
    shell, flow, batch = pushed
    shown = shell.people("workflow", "list")
    assert re.search(rf"{batch} +import +batch +running +0/3", shown)
    told = shell.programs("workflow", "list", "--kind", "workflow").values
    assert [(one["id"], one["waiting"], one["queued"]) for one in told] == [(str(flow), 1, 1)]
    assert shell.programs("workflow", "list", "--before", str(flow)).values == []
    assert "no workflow" in shell.people("workflow", "list", "--state", "failed")
    assert "state must be one of" in shell.people("workflow", "list", "--state", "odd", code=2)


def test_show_has_its_steps(pushed: tuple[Shell, UUID, UUID]) -> None:
    shell, flow, _ = pushed
    shown = shell.people("workflow", "show", str(flow))
    assert "nightly" in shown
    assert re.search(r"2 +store +job +waiting +1", shown)
    told = shell.programs("workflow", "show", str(flow), "--state", "queued").value
    assert [step["name"] for step in told["steps"]] == ["fetch"]


def test_pause_resume_and_cancel(pushed: tuple[Shell, UUID, UUID]) -> None:
    shell, flow, batch = pushed
    assert shell.programs("workflow", "pause", str(flow)).value["state"] == "paused"
    assert shell.programs("workflow", "resume", str(flow)).value["state"] == "running"
    assert "cancelled" in shell.people("workflow", "cancel", str(flow), answer="y\n")
    assert shell.programs("workflow", "cancel", str(batch), "--yes").value["cancelled"] == 3
    retried = shell.programs("workflow", "retry", str(batch)).value
    assert (retried["retried"], retried["state"], retried["queued"]) == (3, "running", 3)


def test_draw(pushed: tuple[Shell, UUID, UUID]) -> None:
    shell, flow, _ = pushed
    assert '"fetch" -> "store";' in shell.people("workflow", "draw", str(flow))
    assert "s0 --> s1" in shell.people("workflow", "draw", str(flow), "--as", "mermaid")
    told = shell.programs("workflow", "draw", str(flow)).value
    assert told["dot"].startswith('digraph "nightly"')


def test_what_is_not_there(shell: Shell) -> None:
    told = shell.programs("workflow", "show", str(uuid4()), code=2)
    assert "no workflow, and no batch, is" in json.loads(told.err)["message"]


def test_without_its_tables_it_says_what_to_run(shell: Shell, empty_dsn: str) -> None:
    said = shell.people("workflow", "list", code=2, CHANCY_DSN=empty_dsn)
    assert "run `chancy migrate`" in said
