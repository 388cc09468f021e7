"""Each promise of the pages about security and reliability names a test that is there."""

import re
from pathlib import Path

import pytest

from tests.test_migrating import missing

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize("page", ["security", "reliability"])
def test_each_promise_has_its_test(page):
    text = (DOCS / f"{page}.md").read_text("utf-8")
    rows = re.findall(r"^\| (?!what is promised|---)(.+) \| (.+) \|$", text, re.MULTILINE)
    assert len(rows) >= 15
    for promise, tests in rows:
        named = re.findall("`([^`]+)`", tests)
        assert named, promise
        assert missing(named) == [], promise
