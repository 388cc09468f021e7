"""Every command is typed into a terminal, called by a program, and on its page."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from cyclopts import App

from chancy_core.cli.calling import application

ROOT = Path(__file__).parents[2]
TESTS = list(ROOT.glob("tests/cli/test_*.py"))
#: What a program reads of these is tested by other means: one does not end, one takes its time.
OTHERWISE = {
    "dev": ("tests/cli/test_dev.py", "test_from_nothing_to_a_job_and_back_to_nothing"),
    "demo": ("tests/acceptance/test_demo.py", "test_on_trio_as_json"),
}


def names(app: App, above: str = "") -> Iterator[str]:
    """All commands that run something, such as `queue list`."""
    for name in app:
        if name.startswith("-"):
            continue
        inner = app[name]
        if inner.default_command is None:
            yield from names(inner, f"{above}{name} ")
        else:
            yield above + name


def calls(*ways: str) -> set[str]:
    """The commands that tests call in one of these ways: as far as their words are constants."""
    found = set()
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                if node.func.attr in ways:
                    found |= {" ".join(map(str, words[:count])) for count in (1, 2)}
    return found


EVERY = set(names(application()))


def test_they_are_found() -> None:
    assert {"push", "queue declare", "job purge", "worker", "dev", "demo", "migrate"} <= EVERY


def test_each_is_typed_into_a_terminal() -> None:
    assert EVERY - calls("people", "open") == set()


def test_each_answers_programs() -> None:
    assert EVERY - calls("programs") - set(OTHERWISE) == set()
    for file, test in OTHERWISE.values():
        assert f"def {test}(" in (ROOT / file).read_text()


def test_each_has_an_example_on_its_page() -> None:
    page = (ROOT / "docs/command-line.md").read_text()
    typed = re.findall(r"^\$ chancy (.+)$", page, re.MULTILINE)
    shown = {" ".join(line.split()[:count]) for line in typed for count in (1, 2)}
    assert EVERY - shown == set()


def test_each_option_is_explained() -> None:
    mute = []
    for name in EVERY:
        app = application()
        for word in name.split():
            app = app[word]
        mute += [
            f"{name} {argument.name}"
            for argument in app.assemble_argument_collection(parse_docstring=True)
            if argument.parse and argument.show and not argument.parameter.help
            if argument.name.startswith("--")
        ]
    assert mute == []
