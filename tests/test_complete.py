"""Whatever there is to use, the documentation has: named where a reader would look for it."""

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from attrs import fields
from cyclopts import App

import chancy
from chancy import Chancy, Job, Queue, Worker
from chancy_core import errors, hookspecs, testing
from chancy_core.cli.commands import COMMANDS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGES = ["chancy_core", "chancy_plugins", "executors/chancy_executors"]


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def first_column(name: str, heading: str) -> set[str]:
    """The names in the first column of the table under a heading of a page."""
    _, _, rest = f"\n{page(name)}".partition(f"\n{heading}\n")
    section = re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| (`[^|]*)\|", section, re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`([\w. ]+)`", row)}


@cache
def sources() -> list[ast.AST]:
    """All that the code of our packages consists of."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return [node for path in paths for node in ast.walk(ast.parse(path.read_text()))]


def variables() -> set[str]:
    """The environment variables that are read: all of ours, and whatever else is asked for."""
    found = set()
    for node in sources():
        if isinstance(node, ast.Constant) and re.fullmatch(r"CHANCY_[A-Z_]+", str(node.value)):
            found.add(node.value)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"os.environ.get", "os.getenv"}:
            found |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            found |= {node.slice.value} if isinstance(node.slice, ast.Constant) else set()
    return found


def groups() -> set[str]:
    """The entry-point groups that are read, and those in which we offer something."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = {group for group in project["entry-points"] if group.startswith("chancy.")}
    loggers = {
        node.args[0]
        for node in sources()
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "logging.getLogger"
    }
    return ours | {
        node.value
        for node in sources()
        if isinstance(node, ast.Constant) and node not in loggers
        if isinstance(node.value, str) and re.fullmatch(r"chancy\.[a-z]+", node.value)
    }


def parameters(of: type) -> set[str]:
    return set(inspect.signature(of).parameters)


def test_every_environment_variable_is_on_the_page_about_settings() -> None:
    assert "CHANCY_DSN" in variables()
    assert first_column("reference/settings", "## Environment variables") == variables()


def test_every_entry_point_group_is_on_the_page_about_them() -> None:
    assert "chancy.executors" in groups()
    assert first_column("entry-points", "## The five groups") == groups()


def classes() -> list[type]:
    found = [value for value in vars(errors).values() if isinstance(value, type)]
    return [value for value in found if issubclass(value, errors.ChancyError)]


def test_every_error_is_explained() -> None:
    assert first_column("reference/errors", "# Errors") == {of.__name__ for of in classes()}


def test_the_error_tree_is_drawn_as_it_is() -> None:
    drawn: dict[str, set[str]] = {}
    branch: list[str] = []
    tree = r"^    ([ │├└─]*)([A-Z]\w+)(?: \((\w+)\))?"
    for indent, name, other in re.findall(tree, errors.__doc__ or "", re.MULTILINE):
        branch[len(indent) // 4 :] = [name]
        drawn[name] = {*branch[-2:-1], *filter(None, [other])} or {"Exception"}
    assert drawn == {of.__name__: {base.__name__ for base in of.__bases__} for of in classes()}


@pytest.mark.parametrize(
    ("name", "heading", "settings"),
    [
        ("reference/settings", "## Of a `Chancy`", parameters(Chancy)),
        ("reference/settings", "## Of a `Worker`", parameters(Worker)),
        ("queues", "## Settings", {field.name for field in fields(Queue)}),
        (
            "jobs",
            "## Settings",
            {field.name for field in fields(Job)} - {"func", "kwargs", "version"},
        ),
    ],
    ids=["Chancy", "Worker", "Queue", "Job"],
)
def test_every_setting_is_in_a_table(name: str, heading: str, settings: set[str]) -> None:
    assert first_column(name, heading) == settings


def commands() -> Iterator[str]:
    """All commands of `chancy`, and those of its groups."""
    for name, command in COMMANDS.items():
        module, _, attribute = command.place.partition(":")
        made = getattr(import_module(f"chancy_core.cli.{module}"), attribute)
        if isinstance(made, App):
            yield from (f"chancy {name} {inner}" for inner in made if not inner.startswith("-"))
        else:
            yield f"chancy {name}"


def test_every_command_is_in_the_reference() -> None:
    assert "chancy queue scale" in commands()
    assert first_column("reference/commands", "# Commands") == set(commands())


def referred() -> set[str]:
    """What the reference shows, by its full name."""
    pages = "\n".join(path.read_text() for path in (DOCS / "reference").glob("*.md"))
    return set(re.findall(r"^\.\. (?:auto|py:)\w+:: (\S+)", pages, re.MULTILINE))


def test_every_name_that_applications_import_is_in_the_reference() -> None:
    shown = referred()
    kept = {name for name in chancy.__all__ if not hasattr(errors, name)}
    assert {f"chancy.{name}" for name in kept} <= shown
    assert {f"chancy_core.testing.{name}" for name in testing.__all__} <= shown
    assert "chancy_core.errors" in shown


def test_every_hook_is_in_the_reference() -> None:
    hooks = {name for name, value in vars(hookspecs).items() if hasattr(value, "chancy_spec")}
    assert "chancy_configure" in hooks
    assert {f"chancy_core.hookspecs.{name}" for name in hooks} <= referred()


def test_every_call_of_an_application_is_in_the_reference() -> None:
    # What our own rooms ask of an application, for callers has other names.
    inner = {"ask", "ask_sync", "database", "hint", "migrator", "plugins", "store", "waits"}
    calls = {name for name in dir(Chancy) if not name.startswith("_")} - inner
    assert {f"chancy.Chancy.{name}" for name in calls} == {
        name for name in referred() if name.startswith("chancy.Chancy.")
    }
