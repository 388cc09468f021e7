"""`chancy demo`, on a part of the standard library; CI runs the whole."""

import importlib.util

import pytest

from chancy_core import cli
from chancy_core.cli import demo

pytestmark = pytest.mark.anyio


@pytest.fixture
def some_files(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("CHANCY_DSN", empty_dsn)
    files = demo.source_files()[:40]
    monkeypatch.setattr(demo, "source_files", lambda: files)
    return files


async def test_the_totals_agree(some_files, capsys):
    assert await demo.demo()
    told = capsys.readouterr().out
    assert "The totals agree" in told
    assert f"{3 * len(some_files):,} jobs" in told


async def test_totals_that_do_not_agree_are_told(some_files, capsys, monkeypatch):
    monkeypatch.setattr(demo.Sums, "of", classmethod(lambda cls, *_: cls(next(odd), 0, 0)))
    odd = iter(range(9))
    assert not await demo.demo()
    assert "do not agree" in capsys.readouterr().out


def test_without_the_extra_one_line_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "cyclopts" else find(name)
    )
    with pytest.raises(SystemExit, match=r"cyclopts: pip install 'chancy\[cli\]'"):
        cli.main()
