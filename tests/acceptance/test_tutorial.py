"""The tutorial, as somebody does it who follows it step by step."""

import sys
from pathlib import Path

import pytest

from tests.reader import Reader, commands, fits

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_tutorial(tmp_path: Path, server_home: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("CHANCY_DSN", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    programs = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    with Reader(tmp_path, CHANCY_HOME=str(server_home), PATH=programs) as reader:
        reader.follow((ROOT / "docs/tutorial.md").read_text("utf-8"))


def test_a_reader_compares_the_answers(tmp_path: Path):
    reader = Reader(tmp_path)
    reader.write("# a.py\nx = 1\n\n\ndef f():\n    return 1\n")
    reader.write("# a.py\n\n\ndef f():\n    return x + 1\n")
    reader.do("console", "$ python3 -c 'import a; print(a.f())'\n2\n\n$ true\n")
    with pytest.raises(AssertionError, match="should say"):
        reader.do("console", "$ python3 -c 'import a; print(a.f())'\n3\n")
    with pytest.raises(AssertionError):
        reader.do("console", "false\n")
    assert list(commands("one\ntwo\n")) == [("one", []), ("two", [])]
    assert fits("a  ... z", "a b z")
    assert not fits("a ... z", "a b zz")
