"""What the documentation says of the house is what the contracts hold it to."""

import re
import tomllib
from pathlib import Path

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
