"""What the documentation says of the house is what the contracts hold it to."""

import re
import tomllib
from pathlib import Path

from chancy_core import discovery

ROOT = Path(__file__).parent.parent


def test_the_floors_are_drawn_as_the_contract_has_them() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    contract = [set(re.split(r"\s*[|:]\s*", layer)) for layer in layers]
    page = (ROOT / "docs/design/house.md").read_text()
    rows = re.findall(r"^\| \d[^|]*\|([^|]*)\|", page, re.MULTILINE)
    drawn = [set(re.findall(r"`(\w+)`", row)) - {"chancy"} for row in rows]
    assert drawn == contract


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
