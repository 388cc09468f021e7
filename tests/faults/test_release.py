"""The run before a release: what is kept of it, and what is run again."""

import json

from attrs import evolve

from tests.faults.release import Kept, Ran, parts

NAMES = [part.name for part in parts()]
GOOD = Ran(NAMES[0], "abc", 0, 12, 3, [], {"no cgroup": 2}, [("kills", 50)])
BAD = evolve(GOOD, name=NAMES[1], status=1, passed=1, failed=["tests.x::test_y"], figures=[])


def test_what_is_green_is_kept_and_the_rest_run_again(tmp_path):
    to = tmp_path / "release.md"
    first = Kept(to, again=False)
    first.keep(BAD)
    first.keep(GOOD)
    assert [ran["name"] for ran in json.loads(to.with_suffix(".json").read_text())] == NAMES[:2]
    page = to.read_text()
    for told in (
        "| 1 | 1 |",
        "| kills | 50 |",
        f"{BAD.name}: tests.x::test_y",
        "2 times: no cgroup",
    ):
        assert told in page
    assert Kept(to, again=False).green == {}
    again = Kept(to, again=True)
    assert set(again.green) == {GOOD.name}
    again.keep(evolve(BAD, commit="def", status=0, failed=[]))
    page = to.read_text()
    assert "`abc`" in page
    assert "`def`" in page
    assert "## Failed\n\nNothing." in page
    assert "In all 4 tests passed." in page
