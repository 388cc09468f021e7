"""Where a setting comes from: defaults < pyproject.toml < the environment < an option."""

import os
from pathlib import Path

import pytest
from attrs import evolve

from chancy_core.cli.options import Options
from chancy_core.cli.settings import VARIABLES, Settings, publish, settle
from chancy_core.errors import InvalidValue
from tests.terminal import Shell


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pyproject.toml of the folder above the current one."""
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    for names in VARIABLES.values():
        for name in names:  # set first, so that what a test leaves there is taken away again
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
    return tmp_path / "pyproject.toml"


def write(project: Path, **settings: str) -> None:
    lines = [f"{key.replace('_', '-')} = {value}" for key, value in settings.items()]
    project.write_text("\n".join(["[tool.chancy]", *lines]))


#: A setting, how it is written down as a, b and c, and what an application or `discovery` reads.
LAYERS = [
    ("app", "CHANCY_APP"),
    ("dsn", "CHANCY_DSN"),
    ("schema", "CHANCY_SCHEMA"),
    ("prefix", "CHANCY_PREFIX"),
    ("jobs", "CHANCY_JOBS"),
]


@pytest.mark.parametrize(("key", "variable"), LAYERS)
def test_an_option_beats_the_environment_beats_the_file(
    project: Path, monkeypatch: pytest.MonkeyPatch, key: str, variable: str
) -> None:
    assert getattr(settle(Options()), key, None) is None
    write(project, **{key: '"from.file"'})
    settle(Options())
    assert os.environ.pop(variable) == "from.file"
    monkeypatch.setenv(variable, "from.environment")
    settle(Options())
    assert os.environ[variable] == "from.environment"
    found = settle(Options(**{key: "from.option"}))
    assert os.environ[variable] == "from.option"
    assert getattr(found, key, "from.option") == "from.option"


def test_the_event_loop(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settle(Options()).backend == "asyncio"
    write(project, backend='"trio"')
    assert settle(Options()).backend == "trio"
    assert settle(Options(trio=False)).backend == "asyncio"
    monkeypatch.setenv("CHANCY_BACKEND", "asyncio")
    assert settle(Options()).backend == "asyncio"
    assert settle(Options(trio=True)).backend == "trio"
    monkeypatch.setenv("CHANCY_BACKEND", "twisted")
    with pytest.raises(InvalidValue, match="backend is asyncio or trio, not 'twisted'"):
        settle(Options())


def test_database_url_comes_before_the_file(project: Path) -> None:
    write(project, dsn='"from.file"')
    environ = {"DATABASE_URL": "from.url"}
    assert publish({}, environ)["dsn"] == environ["CHANCY_DSN"] == "from.url"
    assert publish({}, {"CHANCY_DSN": "ours", "DATABASE_URL": "from.url"})["dsn"] == "ours"


def test_only_an_option_insists_on_its_database(project: Path) -> None:
    write(project, dsn='"from.file"')
    assert not settle(Options()).insistent
    assert settle(Options(dsn="given")) == Settings(dsn="given", insistent=True)


def test_lists_and_what_is_empty(project: Path) -> None:
    write(project, jobs='["a", "b"]', allow="[]", disabled_plugins='["x"]')
    environ = {"CHANCY_DISABLED_PLUGINS": ""}
    assert publish({}, environ) == {"jobs": "a,b", "allow": "", "disabled-plugins": "x"}
    assert environ["CHANCY_ALLOW"] == ""
    assert publish({}, {"CHANCY_ALLOW": "acme"})["allow"] == "acme"


def test_the_nearest_table_counts_and_a_file_is_beside_it(project: Path) -> None:
    write(project, app='"web/app.py:chancy"')
    Path("pyproject.toml").write_text("[tool.other]\nx = 1\n")
    assert publish({}, {})["app"] == f"{project.parent}/web/app.py:chancy"
    Path("pyproject.toml").write_text("[tool.chancy]\napp = 'acme:app'\n")
    assert publish({}, {}) == {"app": "acme:app"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.chancy]\napps = 'x'", "has no setting 'apps'; there are app, dsn"),
        ("[tool.chancy]\njobs = 3", r"jobs in \[tool.chancy\] is text, not 3"),
        ("[tool]\nchancy = 3", r"\[tool.chancy\] is a table of settings, not 3"),
        ("[tool", "cannot be read"),
    ],
)
def test_nonsense_names_its_file(project: Path, text: str, said: str) -> None:
    project.write_text(text)
    with pytest.raises(InvalidValue, match=rf"pyproject\.toml.*{said}"):
        publish({}, {})


def test_all_the_way(shell: Shell, empty_dsn: str, dsn: str) -> None:
    """The file names the application, the environment a database, and an option another."""
    (shell.folder / "pyproject.toml").write_text(
        "[tool.chancy]\napp = 'app.py'\nbackend = 'trio'\n"
    )
    inner = shell.folder / "inner"
    inner.mkdir()
    below = evolve(shell, folder=inner, environ={**shell.environ, "CHANCY_APP": ""})
    told = below.programs("push", "welcome", "name=Ada")
    assert told.value["func"] == "app.welcome"
    assert "run `chancy migrate`" in below.call("job", "list", "--dsn", empty_dsn).stderr
