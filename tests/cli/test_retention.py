"""`chancy retention`, as a person types it and as a program calls it."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.plugins.retention.conftest import History
from tests.terminal import Shell

APP = """

from chancy_plugins.retention import Keep, Retention, days

chancy = Chancy(
    plugins=[
        Retention(
            keep=days(20),
            rules=[Keep(state="succeeded", queue="mail", for_=days(2))],
            export="archive",
        )
    ]
)
"""


@pytest.fixture
def history(dsn: str) -> Iterator[History]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield History(conn)


@pytest.fixture
def told(shell: Shell) -> Shell:
    """A shell with an application that has rules."""
    (shell.folder / "app.py").write_text((shell.folder / "app.py").read_text() + APP)
    (shell.folder / "archive").mkdir()
    return shell


def test_rules_are_those_of_the_application_or_of_the_environment(told: Shell) -> None:
    assert [(one["for"], one["keep"]) for one in told.programs("retention", "rules").values] == [
        ("state=succeeded queue=mail", "2d"),
        ("all else", "20d"),
    ]
    shown = told.people("retention", "rules", CHANCY_RETENTION="1h; state=lost none")
    assert re.search(r"state=lost +none\s+all else +1h", shown)


def test_thirty_days_without_any(shell: Shell) -> None:
    (rule,) = shell.programs("retention", "rules").values
    assert rule == {"for": "all else", "keep": "30d", "seconds": 30 * 86_400}


def test_show_and_run(told: Shell, history: History) -> None:
    old, _ = history.ago(23, 3)
    looked, mail = history.ago(5, 2, queue="mail")
    _, stays = history.ago(5, 2)
    history.conn.execute("ANALYZE chancy_history")
    today = datetime.now(UTC).date()
    days = {one["day"]: one for one in told.programs("retention", "show").values}
    assert days.keys() <= {str(today - timedelta(days=n)) for n in (0, 1, 4, 5, 6, 22, 23, 24)}
    assert days[str(old)]["becomes"] == "is dropped in the next run"
    assert (days[str(old)]["rows"], days[str(old)]["goes_in"]) == (3, 0)
    assert days[str(old)]["bytes"] > 0
    assert re.fullmatch(
        r"is looked through in the next run, is dropped in 1\d days, [\d:]+",
        days[str(looked)]["becomes"],
    )
    assert re.search(
        rf"{old} +~3 +0\.\d MiB +is dropped in the next run", told.people("retention", "show")
    )
    before = history.ids()
    dry = told.programs("retention", "run", "--dry-run").values
    assert [one["day"] for one in dry] == [str(old), str(looked)]
    assert history.ids() == before
    done = told.programs("retention", "run").value
    assert (done["days"], done["deleted"], done["problems"]) == ([str(old)], len(mail), [])
    assert history.ids() == set(stays)
    assert [path.name for path in (told.folder / "archive").iterdir()] == [
        f"{history.table(old)}.jsonl.gz"
    ]
    assert "nothing may go" in told.people("retention", "run", "--dry-run")
    assert "removed 0 jobs in" in told.people("retention", "run")


def test_what_had_to_stay_is_told_and_the_exit_code_is_1(told: Shell, history: History) -> None:
    history.ago(23)
    (told.folder / "archive").rmdir()
    shown = told.people("retention", "run", code=1)
    assert "it cannot be written down into archive: No such file or directory" in shown


def test_it_is_on_the_first_page(bare: Shell) -> None:
    assert re.search(r"\n  retention +\(chancy\)", bare.people("--help"))
    assert "--dry-run" in bare.people("retention", "run", "--help")


def test_without_its_tables_it_says_what_to_run(shell: Shell, empty_dsn: str) -> None:
    shown = shell.people("retention", "rules", code=2, CHANCY_DSN=empty_dsn)
    assert "run `chancy migrate`" in shown
