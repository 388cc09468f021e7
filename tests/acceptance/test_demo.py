"""`chancy demo`, as people run it: what it shows, that it is right, and that nothing is left."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest

from tests.acceptance.test_readme import blocks

COMMAND = [sys.executable, "-c", "from chancy_core import cli; cli.main()", "demo"]
#: How a line begins that tells of an event.
TIMED = re.compile(r" *\d+\.\d s  ")


@pytest.fixture
def env(empty_dsn: str) -> Iterator[dict[str, str]]:
    """Where the demo finds its database; no table is left in it."""
    yield os.environ | {"CHANCY_DSN": empty_dsn, "PYTHONWARNINGS": "error"}
    with psycopg.connect(empty_dsn) as conn:
        left = conn.execute("SELECT relname FROM pg_class WHERE relname LIKE 'demo%'").fetchall()
    assert not left


def whole(env: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run all of it.

    This returns when the last process has gone that was given our pipes: the demo's workers
    are, and their children.
    """
    return subprocess.run(
        [*COMMAND, *options], env=env, capture_output=True, text=True, timeout=110, check=False
    )


def acts(said: str) -> list[str]:
    """Return the acts, what they mean, and what was checked: the same in every run."""
    return re.findall(r"^(?:\d\. | {3}[A-Z]|  ok  |  WRONG|The totals).*", said, re.MULTILINE)


def events(said: str) -> list[str]:
    """Return what happened, without all that differs between runs."""
    lines = filter(TIMED.match, said.splitlines())
    told = (re.sub(r"\(.*?\)|:.*|has=\w+|\b(ada|bob)\b|\d[\d,.]*", "", line) for line in lines)
    return [" ".join(line.split()) for line in told]  # a time beyond ten seconds is wider


def check_the_recording(said: str) -> None:
    """The README shows the acts of this run, and events that were in it, in this order."""
    (recorded,) = blocks("README.md", "text")
    assert acts(recorded) == acts(said)
    assert len(events(recorded)) >= 10
    happened, shown = events(said), events(recorded)
    assert not Counter(shown) - Counter(happened)
    # The workers begin side by side: a job may fail before or after the second of them works.
    early = {event for event in shown if "works" in event or "on purpose" in event}
    rest = iter(event for event in happened if event not in early)
    for event in shown:
        assert event in early or event in rest, event  # the iterator goes on from there


@pytest.mark.slow
def test_on_asyncio_in_plain_lines(env):
    done = whole(env)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "\x1b" not in done.stdout
    assert done.stdout.endswith("The totals agree.\n")
    assert "WRONG" not in done.stdout
    check_the_recording(done.stdout)


@pytest.mark.slow
def test_on_trio_as_json(env):
    done = whole(env, "--trio", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["agreed"]
    assert all(figures["checks"].values())
    assert figures["jobs"] == 3 * figures["files"] == sum(s["jobs"] for s in figures["shares"])
    assert figures["crashes"] >= 1
    assert figures["retries"] == len(range(0, figures["jobs"], 500))
    did = {share["worker"]: share["jobs"] for share in figures["shares"]}
    assert did.keys() == {"ada", "bob", "cleo"}
    assert figures["killed"] in {"ada", "bob"}
    assert did[figures["replacement"]] > 0
    assert {share["executor"] for share in figures["shares"]} == {"async", "thread", "process"}
    assert figures["seconds"] < 60
    check_the_recording(done.stderr)


def begun(env: dict[str, str], *options: str) -> subprocess.Popen[str]:
    """Start it, and return when both workers work and jobs of a process have been done."""
    demo = subprocess.Popen(
        [*COMMAND, *options],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if "on purpose" in line:
            return demo
    raise AssertionError(f"it has ended: {demo.communicate()}")


@pytest.mark.parametrize("options", [(), ("--trio",)])
def test_ctrl_c_ends_it_cleaned_up(env, options):
    demo = begun(env, *options)
    os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: all of its group are told
    out, err = demo.communicate(timeout=20)  # until the last process has gone
    assert (demo.returncode, err) == (130, "")
    assert out.splitlines()[-1] == "Stopped: the demo's workers and tables are gone."


@pytest.mark.parametrize("options", [(), ("--trio",)])
def test_a_killed_demo_leaves_no_worker(empty_dsn, options):
    demo = begun(os.environ | {"CHANCY_DSN": empty_dsn}, *options)
    demo.kill()
    _, err = demo.communicate(timeout=20)  # until the last process has gone
    assert (demo.returncode, err) == (-signal.SIGKILL, "")


def test_a_worker_that_leaves_unasked_ends_it(env):
    demo = begun(env)
    with psycopg.connect(env["CHANCY_DSN"]) as conn:
        (table,) = conn.execute(
            "SELECT relname FROM pg_class WHERE relname LIKE 'demo%workers'"
        ).fetchone()
        (pid,) = conn.execute(f"SELECT pid FROM {table} WHERE name = 'bob'").fetchone()
    os.kill(pid, signal.SIGTERM)
    _, err = demo.communicate(timeout=20)
    assert demo.returncode == 2
    assert err == "chancy: worker bob of the demo left with status -15\n"
