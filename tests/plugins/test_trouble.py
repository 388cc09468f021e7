"""What keeps a part of a plugin from the database is told of once, until it is over."""

import logging

import psycopg
import pytest

from chancy_core.errors import DatabaseError
from chancy_plugins import trouble
from chancy_plugins.trouble import Trouble

log = logging.getLogger("chancy.acme")


@pytest.fixture
def made(caplog: pytest.LogCaptureFixture) -> Trouble:
    caplog.set_level(logging.INFO, "chancy.acme")
    return Trouble(log, "counting", 5.0, rights="ask whoever may")


def test_one_failure_is_nothing_and_two_say_why(made: Trouble) -> None:
    assert made.lasting is None
    made.pause_after(DatabaseError("no route"))
    assert made.lasting is None
    made.pause_after(DatabaseError("still no route"))
    assert made.lasting == "counting fails: the database cannot be asked (still no route)"
    made.over()
    assert made.lasting is None


def test_pauses_grow_up_to_the_longest_and_less_and_less_is_logged(
    made: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = [made.pause_after(DatabaseError("no route")) for _ in range(2_000)]
    assert pauses[0] <= 0.2
    assert max(pauses) <= 5.0
    assert max(pauses) > 4.0
    assert len(caplog.records) == 11  # at each power of two
    made.over()
    assert caplog.messages[-1] == "counting works again"


@pytest.mark.parametrize(
    ("error", "mending"),
    [
        (psycopg.errors.UndefinedTable, "its tables are not there: run `chancy migrate`"),
        (psycopg.errors.UndefinedFunction, "its functions are not there: run `chancy migrate`"),
        (psycopg.errors.InsufficientPrivilege, "ask whoever may"),
    ],
)
def test_what_a_person_can_mend_is_said_once_and_at_once(
    made: Trouble, caplog: pytest.LogCaptureFixture, error: type[psycopg.Error], mending: str
) -> None:
    for _ in range(3):
        assert made.pause_after(error("acme")) >= 0.8 * trouble.LASTING
    assert made.lasting == f"counting fails: {mending} (acme)"
    assert caplog.messages == [f"counting fails on this worker: {mending} (acme)"]


def test_what_is_not_the_databases_is_a_defect(made: Trouble) -> None:
    with pytest.raises(ZeroDivisionError):
        made.pause_after(ZeroDivisionError())
