"""A project of somebody else's, which has installed the package and nothing more."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from chancy import Chancy
from chancy_core.errors import KitError
from chancy_core.testing import database, redirected
from tests.acceptance.test_readme import blocks

KNOWN = {"chancy_core", "chancy_core.testing", "chancy_core.testing.plugin"}


def pytest_in(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as it runs in a project of its own."""
    without = ("CHANCY_", "PYTEST_", "PYTHON", "DATABASE_URL")
    env = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *arguments],
        cwd=folder,
        env=env | environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_page_about_testing_runs_as_it_stands(server: str, tmp_path: Path):
    for block in blocks("docs/testing.md", "python"):
        name = re.match(r"# (\w+\.py)\n", block)
        assert name
        (tmp_path / name[1]).write_text(block)
    ran = pytest_in(tmp_path, "-v", CHANCY_TEST_DSN=server)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passed = re.findall(r"::test_\w+?(?:\[(\w+)\])? PASSED", ran.stdout)
    assert sorted(passed) == ["", "", "", *["asyncio"] * 4, *["trio"] * 4]


def test_the_message_on_the_page_is_what_is_said(server: str, tmp_path: Path):
    (tmp_path / "acme.py").write_text(blocks("docs/testing.md", "python")[0])
    (tmp_path / "conftest.py").write_text(blocks("docs/testing.md", "python")[1])
    (tmp_path / "test_it.py").write_text(
        "import acme\n\ndef test_it(chancy_app, chancy_enqueued):\n"
        "    acme.sign_up_view('ada@example.org')\n"
        "    chancy_enqueued.assert_one(acme.welcome, address='bob@example.org')\n"
    )
    ran = pytest_in(tmp_path, CHANCY_TEST_DSN=server)
    (told,) = blocks("docs/testing.md", "text")
    said = "\n".join(re.findall(r"^E {7}(.*)$", ran.stdout, re.MULTILINE))
    assert said == told.strip(), ran.stdout
    assert "enqueued.py" not in ran.stdout  # the failure is shown where the test asks


CASES = """
import anyio, pytest
from chancy import Chancy, job
from chancy_core.testing import drain

@job(name="stranger.add")
def add(a: int, b: int) -> int:
    return a + b

@pytest.fixture(scope="session")
def chancy_prepare():
    def prepare(dsn):
        import psycopg
        with psycopg.connect(dsn) as conn:
            conn.execute("CREATE TABLE acme (id int)")
    return prepare

@pytest.fixture
def chancy_under_test(chancy_dsn):
    return Chancy(chancy_dsn, schema="acme", prefix="q_")

def test_other_names_and_tables_of_ones_own(chancy_app, chancy_dsn, chancy_clock):
    import psycopg
    chancy_app.sync_push(add.bind(a=1, b=2))
    chancy_clock.advance(hours=1)
    with psycopg.connect(chancy_dsn) as conn:
        assert conn.execute("SELECT count(*) FROM acme.q_jobs").fetchone() == (1,)
        assert conn.execute("SELECT count(*) FROM acme").fetchone() == (0,)

@pytest.mark.anyio
async def test_other_names_in_a_coroutine(chancy_app):
    await chancy_app.push(add.bind(a=1, b=2))
    assert [job.returned for job in await drain(chancy_app)] == [3]

def test_a_loop_that_no_plugin_of_anyios_runs(chancy_app):
    async def main():
        async with chancy_app:
            await chancy_app.push(add.bind(a=1, b=2))
            assert len(await drain(chancy_app)) == 1
    anyio.run(main)
"""


def test_names_tables_and_loops_of_the_projects_own(server: str, tmp_path: Path):
    (tmp_path / "test_it.py").write_text(CASES)
    ran = pytest_in(tmp_path, CHANCY_TEST_DSN=server)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # anyio's own fixture has asyncio, and trio and uvloop where they are installed
    assert re.search(r"\b[4-9] passed", ran.stdout), ran.stdout


def test_without_a_server_the_first_line_says_what_to_install(tmp_path: Path):
    (tmp_path / "test_it.py").write_text("def test_it(chancy_app): pass\n")
    ran = pytest_in(tmp_path, CHANCY_BINDIR=str(tmp_path))
    assert ran.returncode == 1
    assert (
        "the fixtures of chancy need a PostgreSQL: name one by CHANCY_TEST_DSN, or "
        '`pip install "chancy[embedded]"`.'
    ) in ran.stdout


def test_pytest_loads_nothing_of_ours_before_a_fixture_is_used():
    script = """
import json, sys, pytest
before = set(sys.modules)
import chancy_core.testing.plugin
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    new = {
        name for name in json.loads(ran.stdout) if name.split(".")[0] not in sys.stdlib_module_names
    }
    assert new == KNOWN


def test_a_role_that_may_not_make_databases_is_named(server: str, tmp_path: Path):
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute("CREATE ROLE chancy_poor LOGIN")
        try:
            made = database(make_conninfo(server, user="chancy_poor"))
            with pytest.raises(KitError, match=r"'chancy_poor' may not create .*CREATEDB"), made:
                pass
        finally:
            conn.execute("DROP ROLE chancy_poor")


def test_an_application_is_sent_back_to_where_it_was(dsn: str):
    elsewhere = "postgresql://db.example.org/acme"
    chancy = Chancy(elsewhere, listen_dsn=elsewhere)
    with redirected(chancy, dsn) as same:
        assert same is chancy
        assert chancy.sync_get_all_queues() == []
        assert chancy.listen_dsn is None
    assert (chancy.dsn, chancy.listen_dsn) == (elsewhere, elsewhere)
