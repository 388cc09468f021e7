"""What the documentation says of the house is what the contracts hold it to."""

import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from attrs import make_class

from chancy_core import discovery
from chancy_core.executor import Capability, Executor
from chancy_core.job import Failure, QueuedJob, State
from chancy_core.outcome import Kind, Outcome, settle
from tests import offered

ROOT = Path(__file__).parent.parent


def test_the_floors_are_drawn_as_the_contract_has_them() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    contract = [set(re.split(r"\s*[|:]\s*", layer)) for layer in layers]
    page = (ROOT / "docs/design/house.md").read_text()
    rows = re.findall(r"^\| \d[^|]*\|([^|]*)\|", page, re.MULTILINE)
    drawn = [set(re.findall(r"`(\w+)`", row)) - {"chancy"} for row in rows]
    assert drawn == contract


def test_every_file_of_the_executors_is_on_the_page_about_the_house() -> None:
    page = (ROOT / "docs/design/house.md").read_text()
    files = {path.stem for path in (ROOT / "executors/chancy_executors").glob("[!_]*.py")}
    assert "children" in files
    assert files <= set(re.findall(r"`(\w+)(?:\.py)?`", page))


def test_every_event_that_a_worker_tells_is_on_the_page_about_watching() -> None:
    rooms = (ROOT / "chancy_core").glob("*.py")
    told = {name for room in rooms for name in re.findall(r'emit\("([\w.]+)"', room.read_text())}
    page = (ROOT / "docs/watching.md").read_text()
    assert {"worker.started", "job.settled"} <= told
    assert told <= set(re.findall(r"`([\w.]+)`", page))


def test_every_group_of_entry_points_is_on_the_page_about_them_with_what_can_become_of_it() -> None:
    page = (ROOT / "docs/entry-points.md").read_text()
    named = set(re.findall(r"^\| `([\w. ]+)` \|", page, re.MULTILINE))
    assert named == {*discovery.GROUPS, *discovery.Standing}
    assert {discovery.ALLOW, discovery.DISABLED} <= set(
        re.findall(r"^`(\w+)`$", page, re.MULTILINE)
    )


def test_every_tag_provider_of_ours_is_on_the_page_about_tags() -> None:
    page = (ROOT / "docs/tags.md").read_text()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ours = settings["project"]["entry-points"]["chancy.tags"]
    assert set(re.findall(r"provider `(\w+)` \|", page)) == set(ours)


def test_the_table_of_executors_is_as_those_that_are_installed_have_it() -> None:
    command = [sys.executable, "-m", "tests.offered", "--print"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    page = offered.PAGE.read_text()
    assert offered.written(page, told.strip()) == page, "write it by `python -m tests.offered`"
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ours = settings["project"]["entry-points"]["chancy.executors"]
    assert set(re.findall(r"^\| `([\w-]+)` \|", told, re.MULTILINE)) == set(ours)


def test_of_each_executor_the_page_says_what_it_is_for() -> None:
    page = offered.PAGE.read_text()
    assert set(offered.ours()) <= set(re.findall(r"^\* \*\*`([\w-]+)`\*\*", page, re.MULTILINE))
    (which,) = re.findall(r"^\*\*Which to take\*\*(.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    assert set(offered.ours()) <= set(re.findall(r"`([\w-]+)`", which))


def test_the_table_has_whatever_an_executor_says_of_itself() -> None:
    class Odd(Executor):
        Options = make_class("Options", ["beads", "rods"])
        capabilities = Capability.COMMAND | Capability.HARD_KILL
        default_concurrency = 2 * offered.PROCESSORS

    head, _, row = offered.table({"odd": Odd}).splitlines()[:3]
    named = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert {name for name, told in named.items() if told == "yes"} == {"`command`", "`hard-kill`"}
    assert (named["at once"], named["options |"]) == ("2 for each processor", "`beads`, `rods` |")
    assert all(f"`{one.words}`" in named for one in Capability)
    assert offered.meanings()["sync"] == "runs plain functions"
    with pytest.raises(ValueError, match="no markers"):
        offered.written("a page", "a table")


SQL = {path.stem: path.read_text() for path in (ROOT / "chancy_core/sql").glob("*.sql")}
LIVE = {state.value for state in State if not state.finished}
FINISHED = {state.value for state in State if state.finished}


def verdicts() -> set[str]:
    """The states that a decision may come to, whatever the job and however it ended."""
    now = datetime.now(UTC)
    unknown = Failure(attempt=0, kind="unknown-function", type="UnknownFunction", message="")
    jobs = [
        QueuedJob(func="f", id=uuid4(), state=State.RUNNING, created_at=now, **settings)
        for settings in (
            {"max_attempts": 2},
            {"max_attempts": 1},
            {"at_most_once": True},
            {"errors": (unknown,) * 100},
        )
    ]
    return {settle(job, Outcome(kind)).state.value for job in jobs for kind in Kind}


def reads(sql: str) -> set[str]:
    """The states of those rows that a statement changes."""
    found = set(re.findall(r"(?<!SET )\bstate = '(\w+)'", re.sub(r"SET\s+", "SET ", sql)))
    if "state <> 'running'" in sql:
        found = LIVE - {"running"}
    if (
        "job.lease_id = outcome.lease_id" in sql
    ):  # what has a lease is running: a CHECK of the table
        found |= {"running"}
    return found & LIVE | (FINISHED if "DELETE FROM {history}" in sql else set())


def writes(sql: str) -> set[str]:
    """The states that a statement leaves: `'pending'`, `CASE ... END`, or a verdict's."""
    places = re.findall(r"SET\s+state = (CASE.*?END|'\w+')", sql, re.DOTALL)
    for columns, values in re.findall(
        r"INSERT INTO \{(?:jobs|history)\} \((.*?)\)\s*SELECT (.*?)\s+FROM", sql, re.DOTALL
    ):
        place = re.split(r",\s*", columns).index("state")
        places.append(re.split(r",\s*(?![^()]*\))", values)[place])
    states = {state for place in places for state in re.findall(r"'(\w+)'", place)}
    if "final" in places:
        states |= verdicts() & FINISHED
    return states


def transitions() -> dict[str, tuple[set[str], set[str]]]:
    """What the table of the states' page says."""
    page = (ROOT / "docs/design/states.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|[^|]*\|$", page, re.MULTILINE)
    quoted = r"`(\w+)`"
    return {
        name: (set(re.findall(quoted, before)), set(re.findall(quoted, after)))
        for name, before, after in rows
        if name in SQL
    }


def test_the_states_change_as_their_page_says() -> None:
    moving = {name: sql for name, sql in SQL.items() if writes(sql)}
    assert transitions() == {
        name: (set() if name == "push" else reads(sql), writes(sql)) for name, sql in moving.items()
    }
    assert writes(SQL["requeue"]) == verdicts() & LIVE == {"pending", "scheduled"}


def test_the_drawing_has_every_state_and_every_statement_that_changes_one() -> None:
    page = (ROOT / "docs/design/states.md").read_text()
    (drawing,) = re.findall(r"^```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"\w+", drawing)) == {*State, *transitions(), "live", "finished"}


@pytest.mark.parametrize("counter", ["claims", "attempts", "crashes"])
def test_the_counters_grow_where_their_page_says(counter: str) -> None:
    page = (ROOT / "docs/design/states.md").read_text()
    (row,) = re.findall(rf"^\| `{counter}` \|([^|]*)\|", page, re.MULTILINE)
    more = rf"{counter} \+ (1,|1\)|counted|\(queue)"
    grows = {name for name, sql in SQL.items() if re.search(more, sql)}
    assert set(re.findall(r"`(\w+)`", row)) == grows
