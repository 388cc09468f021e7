"""Which functions may run as jobs, and under which names."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chancy import Job, job
from chancy_core import registry
from chancy_core.errors import ChancyError, InvalidJob, UnknownFunction

pytestmark = pytest.mark.usefixtures("own_registry")


def plain(a: int, b: int = 2, *, c: int = 3) -> int:
    return a + b + c


def test_a_registered_function_is_found_by_its_name_and_still_called() -> None:
    made = job(plain)
    assert made.name == f"{__name__}.plain"
    assert registry.lookup(made.name) is made
    assert made(1) == 6
    assert (made.__name__, made.__doc__, repr(made)) == ("plain", None, f"<job {made.name}>")
    assert not made.is_async


def test_a_coroutine_function_is_known_as_one() -> None:
    @job
    async def wait() -> None: ...

    assert wait.is_async


@pytest.mark.parametrize("name", ["os.system", "tests.jobs.os.system", "", "__main__", "a.b"])
def test_a_name_that_nobody_registered_runs_nothing(name: str) -> None:
    before = set(sys.modules)
    with pytest.raises(UnknownFunction, match=f"'{name}'"):
        registry.lookup(name)
    assert set(sys.modules) == before


def test_a_call_is_bound_by_the_signature() -> None:
    made = job(name="sum", queue="math", max_attempts=5)(plain)
    assert made.bind(1, c=4) == Job("sum", kwargs={"a": 1, "c": 4}, queue="math", max_attempts=5)
    for wrong in ({}, {"a": 1, "d": 2}):
        with pytest.raises(InvalidJob, match=r"'sum'"):
            made.bind(**wrong)  # type: ignore[arg-type]


def test_keyword_arguments_of_all_names_are_bound() -> None:
    @job
    def loose(a: int, **extra: Any) -> None: ...

    assert loose.bind(1, b=2, extra=3).kwargs == {"a": 1, "b": 2, "extra": 3}
    assert loose.bind(1).kwargs == {"a": 1}


def test_options_make_another_template_for_the_same_function() -> None:
    made = job(queue="mail")(plain)
    twin = made.options(priority=7, queue="slow")
    assert (twin.bind(1).queue, twin.bind(1).priority) == ("slow", 7)
    assert (made.bind(1).queue, made.bind(1).priority) == ("mail", 0)
    assert twin.func is made.func
    with pytest.raises(InvalidJob):
        made.options(priority=99_999)


def test_options_are_checked_where_the_function_is_registered() -> None:
    with pytest.raises(InvalidJob, match="max_attempts"):
        job(max_attempts=0)(plain)


def test_two_functions_cannot_have_one_name() -> None:
    job(name="same")(plain)
    job(name="same")(plain)  # as when a module is loaded once more
    with pytest.raises(InvalidJob, match=r"'same'.*test_registry\.py:\d+ and .*test_registry\.py"):

        @job(name="same")
        def other() -> None: ...


def script(folder: Path, body: str = "") -> Path:
    path = folder / "nightly_report.py"
    path.write_text(f"from chancy import job\n@job\ndef send(): return __name__\n{body}")
    return path


def as_main(monkeypatch: pytest.MonkeyPatch, path: Path, spec: Any = None) -> None:
    """Run a file as Python would run it as the program."""
    main = ModuleType("__main__")
    main.__file__ = str(path)
    main.__spec__ = spec
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(path.read_text(), str(path), "exec"), vars(main))


def test_a_script_and_its_child_agree_on_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_main(monkeypatch, script(tmp_path))
    assert registry.lookup("nightly_report.send")() == "__main__"
    sources = registry.sources()
    assert sources == [("nightly_report", str(tmp_path / "nightly_report.py"))]

    registry._functions.clear()  # the child begins
    registry.load_sources(sources)
    assert registry.lookup("nightly_report.send")() == "nightly_report"


@pytest.mark.parametrize(
    ("run", "job_name"), [("acme", "acme.send"), ("acme.tool", "acme.tool.send")]
)
def test_python_m_and_its_child_agree_on_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: str, job_name: str
) -> None:
    package = tmp_path / "acme"
    package.mkdir()
    (package / "__init__.py").touch()
    name = "__main__" if run == "acme" else "tool"
    path = script(package).rename(package / f"{name}.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    from importlib.util import find_spec

    as_main(monkeypatch, path, find_spec(f"acme.{name}"))
    assert registry.lookup(job_name)() == "__main__"
    sources = registry.sources()
    assert sources == [(f"acme.{name}", None)]

    registry._functions.clear()
    registry.load_sources(sources)
    assert registry.lookup(job_name)() == f"acme.{name}"


def test_a_script_that_fails_in_the_child_says_so(tmp_path: Path) -> None:
    path = script(tmp_path, "raise RuntimeError('at import')")
    with pytest.raises(RuntimeError, match="at import"):
        registry.load_sources([("nightly_report", str(path))])


@pytest.mark.parametrize(
    "body",
    [
        "async def main():\n    async with chancy: pass\nanyio.run(main)",
        "chancy.sync_push(send)",
        "with chancy: pass",
    ],
)
def test_a_script_that_goes_to_work_where_its_jobs_are_loaded_is_told_how_to_be_guarded(
    tmp_path: Path, body: str
) -> None:
    lead = "import anyio\nfrom chancy import Chancy\nchancy = Chancy('host=/nowhere')\n"
    path = script(tmp_path, lead + body)
    with pytest.raises(ChancyError, match=r"'nightly_report'.* behind `if __name__"):
        registry.load_sources([("nightly_report", str(path))])
    registry.check_loaded()


def test_modules_with_jobs_are_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.import_jobs(["nightly_report"])
    assert registry.lookup("nightly_report.send")() == "nightly_report"
    assert registry.sources() == [("nightly_report", "")]


PLAIN = """
from pathlib import Path
from json import dumps

def send(to: str) -> str:
    return to

async def receive() -> None: ...

def _private() -> None: ...

def endless():
    yield 1

class Letter: ...

shout = lambda: None
again = send
"""


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    """Write a package `acme` of these modules, to be imported from here."""
    (folder / "acme").mkdir()
    (folder / "acme" / "__init__.py").write_text(modules.pop("init", ""))
    for name, text in modules.items():
        (folder / "acme" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))


def test_a_module_without_jobs_offers_its_own_public_functions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package(tmp_path, monkeypatch, mail=PLAIN)
    registry.import_jobs(["acme.mail"])
    assert registry.lookup("acme.mail.send")("ada") == "ada"
    assert registry.lookup("acme.mail.receive").is_async
    offered = {name.removeprefix("acme.mail.") for name in registry._functions}
    assert offered == {"send", "receive", "shout", "again"}


def test_what_a_module_names_as_public_is_what_it_offers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package(tmp_path, monkeypatch, mail=PLAIN + "__all__ = ['receive']")
    registry.import_jobs(["acme.mail"])
    assert list(registry._functions) == ["acme.mail.receive"]


@pytest.mark.parametrize("where", ["init", "inner"])
def test_where_anything_is_a_job_nothing_else_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    jobs = "from chancy import job\n@job\ndef send(): ...\n"
    modules = {"init": "from acme import inner\ndef reset(): ...\n", "inner": ""}
    package(tmp_path, monkeypatch, **modules | {where: modules[where] + jobs})
    registry.import_jobs(["acme"])
    assert [name.rpartition(".")[2] for name in registry._functions] == ["send"]


def test_a_child_imports_first_what_was_named_and_in_that_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    modules = {name: f"from acme import order\norder.seen.append({name!r})" for name in "abc"}
    package(tmp_path, monkeypatch, order="seen = []", **modules)
    job(plain)
    registry.import_jobs(["acme.c", "acme.a"])
    sources = registry.sources()
    assert sources == [("acme.c", ""), ("acme.a", ""), (__name__, None)]

    for name in [name for name in sys.modules if name.startswith("acme")]:
        del sys.modules[name]
    monkeypatch.setattr(registry, "_functions", {})
    registry.load_sources(sources[:2])
    assert sys.modules["acme.order"].seen == ["c", "a"]  # type: ignore[attr-defined]
    assert registry.sources() == sources[:2]


def test_no_child_is_told_of_a_module_that_could_not_be_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package(tmp_path, monkeypatch, mail=PLAIN)
    with pytest.raises(ModuleNotFoundError):
        registry.import_jobs(["acme.mail", "acme.nowhere"])
    assert registry.sources() == [("acme.mail", "")]


def test_a_child_offers_what_its_parent_offered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package(tmp_path, monkeypatch, mail=PLAIN)
    registry.import_jobs(["acme.mail"])
    sources = registry.sources()
    registry._functions.clear()
    registry.load_sources(sources)
    assert registry.lookup("acme.mail.send")("ada") == "ada"


def test_a_module_that_nobody_named_offers_nothing_in_the_child(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package(tmp_path, monkeypatch, mail=PLAIN)
    from importlib import import_module

    job(import_module("acme.mail").send)  # decorated elsewhere
    sources = registry.sources()
    registry._functions.clear()
    registry.load_sources(sources)
    assert registry._functions == {}
