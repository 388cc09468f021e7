"""The application that is meant, by the ways to name it."""

import re
import sys
from pathlib import Path

import pytest

from chancy import Chancy, Job
from chancy_core import registry
from chancy_core.cli.finding import find_app
from chancy_core.cli.settings import Settings
from chancy_core.errors import ChancyError, InvalidValue

pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def write(path: str, text: str) -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"from chancy import Chancy, job\n{text}\n")


def find(app: str | None, **settings) -> Chancy:
    return find_app(Settings(app=app, **settings))


ONE = "app = Chancy('postgresql:///one', prefix='one_')"


@pytest.mark.parametrize("app", ["one_app", "one_app:app", "one_app.py", "./one_app.py:app"])
def test_each_way_to_name_it(app: str) -> None:
    write("one_app.py", ONE)
    assert find(app).names.prefix == "one_"


def test_an_attribute_of_a_module_in_a_package() -> None:
    write("acme/__init__.py", "")
    write("acme/web.py", f"{ONE}\nother = Chancy(prefix='two_')")
    assert find("acme.web:other").names.prefix == "two_"


def test_a_script_is_loaded_as_it_would_name_its_jobs_itself(folder: Path) -> None:
    write("deep/job_script.py", f"{ONE}\nimport beside\n@job\ndef once(): ...")
    write("deep/beside.py", "")
    find(str(folder / "deep/job_script.py"))
    assert registry.lookup("job_script.once").template == Job("job_script.once")
    assert ("job_script", None) in registry.sources()
    assert str(folder / "deep") in sys.path


def test_one_under_two_names_is_one_and_several_are_listed() -> None:
    write("same.py", f"{ONE}\nalias = app")
    assert find("same").names.prefix == "one_"
    write("several.py", f"{ONE}\nother = Chancy()")
    with pytest.raises(InvalidValue, match=r"several: say which, of several:app, several:other"):
        find("several.py")


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("nowhere", "there is no module 'nowhere' in "),
        ("acme.nowhere:app", "there is no module 'acme.nowhere' in "),
        ("nowhere.py", "there is no file .*nowhere.py"),
        ("none.py", "none.py has no Chancy at its top"),
        ("none:x", "none:x is a int, no Chancy; Chancys in it: none"),
        ("none:y", "none:y is nothing; Chancys in it: none"),
        ("raises", r"raises cannot be imported: KeyError: 'x' \(.*raises.py, line 2\)"),
        ("exits.py", "exits.py cannot be imported: SystemExit: 3"),
        ("syntax.py", "syntax.py cannot be imported: SyntaxError"),
        ("json.py", "json.py is called like the module 'json', which is loaded already"),
    ],
)
def test_what_is_wrong_is_said(app: str, said: str) -> None:
    write("none.py", "x = 1")
    write("raises.py", "{}['x']")
    write("exits.py", "raise SystemExit(3)")
    write("syntax.py", "def f(:")
    write("json.py", ONE)
    with pytest.raises(InvalidValue, match=said):
        find(app)


def test_a_script_that_starts_by_itself_is_told_so() -> None:
    write("unguarded.py", f"{ONE}\nwith app: pass")
    with pytest.raises(ChancyError, match=re.escape('belongs behind `if __name__ == "__main__":`')):
        find("unguarded.py")


def test_without_an_app_there_is_a_plain_one() -> None:
    app = find(None, dsn="postgresql:///plain", schema="s", prefix="p_")
    assert (app.dsn, app.names.schema, app.names.prefix) == ("postgresql:///plain", "s", "p_")


def test_an_application_says_its_names_itself_and_bows_to_a_dsn_that_was_typed() -> None:
    write("bowing.py", ONE)
    assert find("bowing", dsn="postgresql:///other").dsn == "postgresql:///one"
    assert find("bowing", dsn="postgresql:///other", insistent=True).dsn == "postgresql:///other"
    for key in ("schema", "prefix"):
        with pytest.raises(InvalidValue, match=f"{key} is what the application bowing says itself"):
            find("bowing", **{key: "x"})
