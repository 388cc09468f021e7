"""Each promise of the page about security names a test that is there."""

import re
from pathlib import Path

from tests.test_migrating import missing

PAGE = Path(__file__).parent.parent.parent / "docs/security.md"


def test_each_promise_has_its_test():
    rows = re.findall(
        r"^\| (?!what is promised|---)(.+) \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    assert len(rows) >= 15
    for promise, tests in rows:
        named = re.findall("`([^`]+)`", tests)
        assert named, promise
        assert missing(named) == [], promise
