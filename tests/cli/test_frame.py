"""What holds for every command: errors and exit codes, strangers' commands, the first page."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chancy import Chancy, Job, Queue
from chancy_core import embedded
from chancy_core.cli import failing
from chancy_core.cli.commands import COMMANDS
from chancy_core.embedded.temporary import roomy
from tests.cli.conftest import environment
from tests.terminal import CHANCY, Acme, Shell


def welcome(name: str) -> Job:
    """The job of the application, which only its own process has loaded."""
    return Job("app.welcome", queue="mail", kwargs={"name": name})


# -- errors ----------------------------------------------------------------------------------------


def test_a_misspelt_command_option_and_function_are_guessed(shell: Shell) -> None:
    shown = shell.people("queu", "list", code=2)
    assert (
        shown
        == "chancy: no command is called 'queu': did you mean 'queue'? `chancy --help` lists them\n"
    )
    assert 'Did you mean "list"?' in shell.people("queue", "lst", code=2)
    shown = shell.people("push", "welcome", "--priorit", "3", code=2)
    said = shown.replace('"', "")  # which not every version of cyclopts has
    assert said == "chancy: Unknown option: --priorit. Did you mean --priority?\n"
    assert "did you mean 'welcome'?" in shell.people("push", "welcom", "name=Ada", code=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["push"], "name a function, as in"),
        (["push", "welcome"], "'name' is missing"),
        (["push", "welcome", "name=Ada", "nam=x"], "it has no argument 'nam'"),
        (["push", "welcome", "Ada"], "'Ada' is neither name=text nor name:=JSON"),
        (["push", "welcome", "name=Ada", "--delay", "soon"], "'soon' is no duration"),
        (["push", "welcome", "name=Ada", "--at", "soon"], "'soon' is no date and time"),
        (["queue", "declare", "q", "--concurrency", "x"], "--concurrency"),
        (["queue", "declare", "q", "--executor-options", "[1]"], "is no JSON object"),
        (["job", "show", "x"], "x"),
        (["job", "list", "--limit", "0"], "--limit is 1 to 10,000, not 0"),
        (["migrate", "--to", "core"], "'core' is no line and version, such as core=3"),
    ],
)
def test_one_line_says_what_is_wrong(shell: Shell, words: list[str], said: str) -> None:
    done = shell.call(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("chancy: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_program_is_told_as_json_and_a_person_who_asks_where(shell: Shell) -> None:
    told = shell.programs("queue", "show", "nope", code=2)
    assert json.loads(told.err) == {
        "error": "QueueNotFound",
        "message": "no queue is named 'nope'; declare it first",
        "exit": 2,
    }
    shown = shell.people("queue", "show", "nope", "--traceback", code=2)
    assert "Traceback (most recent call last):" in shown
    assert shown.splitlines()[-1] == "chancy: no queue is named 'nope'; declare it first"


def test_what_nobody_has_foreseen_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    group = ExceptionGroup("of a task group", [ExceptionGroup("", [KeyError("k\ney")])])
    assert failing.explain(group, as_json=False, traceback=False) == failing.IMPOSSIBLE
    assert capsys.readouterr().err == "chancy: KeyError: 'k\\ney' (--traceback shows where)\n"
    pressed = BaseExceptionGroup("", [ValueError(), KeyboardInterrupt()])
    assert failing.explain(pressed, as_json=False, traceback=False) == failing.INTERRUPTED
    assert capsys.readouterr().err == ""


@pytest.fixture(scope="module", autouse=True)
def lost() -> Iterator[subprocess.Popen[str]]:
    """A command that gives its database ten seconds to come, while others are tested."""
    command = [CHANCY, "queue", "list", "--dsn", "postgresql:///x?host=/nowhere"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, env=environment(), text=True
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("loop", [(), ("--trio",)], ids=["asyncio", "trio"])
def test_ctrl_c_shows_no_traceback(shell: Shell, dsn: str, loop: tuple[str, ...]) -> None:
    with shell.open("push", "welcome", "name=Ada", "--wait", "-v", *loop) as typed:
        with Chancy(dsn) as chancy:
            deadline = time.monotonic() + 20
            while not chancy.sync_list_jobs().jobs:
                assert time.monotonic() < deadline, typed.text
                time.sleep(0.02)
        typed.type("\x03")
        assert typed.end() == failing.INTERRUPTED, typed.text
        assert typed.text.replace("^C", "").strip() == ""


@pytest.mark.slow
def test_ctrl_c_ends_the_demo(bare: Shell, empty_dsn: str) -> None:
    with bare.open("demo", CHANCY_DSN=empty_dsn) as typed:
        typed.expect("on purpose", seconds=60)
        typed.type("\x03")
        assert typed.end() == failing.INTERRUPTED, typed.text
        assert "Traceback" not in typed.text


def test_ctrl_c_answers_a_question(shell: Shell) -> None:
    with shell.open("job", "purge", "--all") as typed:
        typed.expect("[y/N]")
        typed.type("\x03")
        assert typed.end() == failing.INTERRUPTED, typed.text
        assert "Traceback" not in typed.text


@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["people", "programs"])
def test_a_reader_that_goes_away_is_no_error(
    shell: Shell, dsn: str, as_json: tuple[str, ...]
) -> None:
    with Chancy(dsn) as chancy:
        chancy.sync_push_many(welcome("x" * 300) for _ in range(1000))
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [CHANCY, "job", "list", "-n", "1000", *as_json],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=shell.folder,
        env=dict(shell.environ),
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (failing.UNREAD, "")


# -- output ----------------------------------------------------------------------------------------


def test_colours_are_for_terminals_that_want_them(shell: Shell) -> None:
    for environ, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        with shell.open("job", "list", "--help", **environ) as typed:
            typed.end()
            assert bool(re.search(rb"\x1b\[[0-9;]*3[0-7]m", typed.raw)) is coloured
    assert "\x1b" not in shell.call("job", "list", "--help").stdout


def test_progress_is_shown_where_somebody_watches(shell: Shell, dsn: str) -> None:
    with Chancy(dsn) as chancy:
        chancy.sync_push(welcome("Ada"))
    assert "cancel" in shell.people("job", "cancel", "--all", "--yes")
    with Chancy(dsn) as chancy:
        chancy.sync_push(welcome("Ada"))
    done = shell.call("job", "cancel", "--state", "pending", "--yes")
    assert (done.stdout, done.stderr) == ("1 cancelled\n", "")


# -- the server ------------------------------------------------------------------------------------


def test_no_server_is_started(bare: Shell) -> None:
    shown = bare.people("queue", "list", code=2)
    assert "chancy: no server: start one with `chancy dev`, or name one by --dsn" in shown
    assert not Path(bare.environ["CHANCY_HOME"]).exists()


def test_a_server_that_runs_is_joined(bare: Shell) -> None:
    # Not pytest's tmp_path, where root's servers, run by another user, cannot go.
    home = Path(tempfile.mkdtemp(prefix="chancy-home-", dir=roomy()))
    home.chmod(0o755)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CHANCY_HOME", str(home))
            with embedded.join() as lease, Chancy(lease.dsn) as chancy:
                chancy.sync_migrate()
                chancy.sync_declare(Queue("here", executor="async"))
                text = "from chancy import Chancy\napp = Chancy()\n"
                (bare.folder / "app.py").write_text(text)
                for words in ((), ("--app", "app.py")):
                    told = bare.programs("queue", "list", *words, CHANCY_HOME=str(home))
                    assert [value["name"] for value in told.values] == ["here"]
            embedded.stop()
    finally:
        shutil.rmtree(home)


# -- other packages' commands ----------------------------------------------------------------------


def test_a_command_of_another_package(shell: Shell, acme: Acme) -> None:
    acme.install("refunds = acme_commands:refunds", "acme = acme_commands:admin")
    shown = shell.people("--help")
    assert "From other packages" in shown
    assert "refunds  (acme)" in shown.replace("refunds     ", "refunds  ")
    assert shell.programs("refunds", "today", "--trio", code=3).value == {
        "day": "today",
        "queues": [],
    }
    assert shell.people("acme", "greet", "Ada") == "Hello, Ada!\n"
    assert "Pay back what was paid on a day." in shell.people("refunds", "--help")
    assert "did you mean 'refunds'?" in shell.people("refund", code=2)


def test_a_broken_one_is_blamed_on_its_distribution_and_hides_no_other(
    shell: Shell, acme: Acme
) -> None:
    acme.install("bad = acme_commands:x", module="raise RuntimeError('at import')")
    shown = shell.people("bad", code=2)
    assert "acme 1.0 offers 'bad' as 'acme_commands:x', but loading it raised" in shown
    assert shown.count("\n") == 1
    assert "bad" in shell.people("--help")
    assert shell.programs("queue", "list").values == []


def test_ours_cannot_be_shadowed_and_who_is_not_allowed_is_not_there(
    shell: Shell, acme: Acme
) -> None:
    acme.install("queue = acme_commands:refunds", "refunds = acme_commands:refunds")
    assert shell.programs("queue", "list").values == []
    assert shell.people("--help").count("(acme)") == 1
    assert "acme" not in shell.people("--help", CHANCY_ALLOW="")
    assert "no command is called 'refunds'" in shell.people("refunds", "x", code=2, CHANCY_ALLOW="")
    (shell.folder / "pyproject.toml").write_text("[tool.chancy]\nallow = []\n")
    assert "acme" not in shell.people("--help")
    assert "no command is called 'refunds'" in shell.people("refunds", "x", code=2)


# -- the first page --------------------------------------------------------------------------------

#: Runs the command in a process that has no such packages; then tells what was imported.
WITHOUT = """\
import sys
from importlib.machinery import PathFinder
class Lacking:
    def find_spec(self, name, path=None, target=None):
        return None if name in {blocked} else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Lacking()
from chancy_core.cli import main
try:
    main()
finally:
    print(sorted(sys.modules), file=sys.stderr)
"""


def without(*blocked: str, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    script = WITHOUT.format(blocked=set(blocked) or "()")
    return subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False
    )


def test_it_says_what_there_is_and_imports_none_of_it() -> None:
    done = without(words=("--help",))
    assert done.returncode == 0
    for name, command in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert command.help in done.stdout
    for module in ("cyclopts", "rich", "psycopg", "chancy_core.app", "chancy_core.cli.pushing"):
        assert f"'{module}'" not in done.stderr
    assert without(words=()).stdout == done.stdout


def processor_time(*command: str) -> float:
    """Run a command, and return how many seconds of a processor it took."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


def test_it_takes_at_most_twice_what_importing_the_libraries_does() -> None:
    ours = min(processor_time(CHANCY, "--help") for _ in range(8))
    theirs = min(processor_time(sys.executable, "-c", "import cyclopts, rich") for _ in range(8))
    assert ours <= 2 * theirs, (ours, theirs)


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
def test_without_the_extra_one_line_says_what_to_install(missing: str) -> None:
    done = without(missing, words=("queue", "list"))
    assert (done.returncode, done.stdout) == (2, "")
    line = done.stderr.splitlines()[0]
    assert line == f"chancy: the command line needs {missing}: pip install 'chancy[cli]'"


def test_the_version() -> None:
    done = subprocess.run([CHANCY, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("chancy 1.")


@pytest.mark.slow
def test_a_database_that_is_not_there(lost: subprocess.Popen[str]) -> None:
    """It comes last: by then the command has waited long enough."""
    out, err = lost.communicate(timeout=30)
    assert (lost.returncode, out, err.count("\n")) == (2, "", 1)
    assert "/nowhere" in err
