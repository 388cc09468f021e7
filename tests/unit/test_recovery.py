"""What the log says of jobs whose workers have died, and what the environment may set."""

import logging
from types import SimpleNamespace
from uuid import UUID

import pytest

from chancy import Chancy, State
from chancy_core.errors import InvalidValue
from chancy_core.outcome import Rescued
from chancy_plugins.recovery import NAMED, chancy_jobs_rescued

WORKER = SimpleNamespace(name="w-7")


def rescued(*states: State) -> list[Rescued]:
    return [Rescued(UUID(int=n), f"q{n % 2}", state) for n, state in enumerate(states)]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "chancy.recovery")
    return caplog


async def test_one_line_tells_of_a_rescue_however_many_there_were(said, anyio_backend):
    await chancy_jobs_rescued(rescued(*[State.PENDING] * 1_234, State.CANCELLED), WORKER)
    (warning,) = said.records
    assert warning.levelname == "WARNING"
    assert warning.getMessage() == (
        "worker w-7 took back jobs whose workers had died: 1,234 pending, 1 cancelled; "
        "by queue: 618 q0, 617 q1"
    )


async def test_another_names_those_that_wait_for_a_person_and_what_to_do(said, anyio_backend):
    await chancy_jobs_rescued(rescued(State.LOST, State.PENDING, State.QUARANTINED), WORKER)
    _, error = said.records
    assert error.levelname == "ERROR"
    lost, quarantined = UUID(int=0), UUID(int=2)
    assert f": {lost} (lost), {quarantined} (quarantined). `chancy job list" in error.getMessage()
    assert "retry_jobs" in error.getMessage()


async def test_no_line_is_endless(said, anyio_backend):
    await chancy_jobs_rescued(rescued(*[State.QUARANTINED] * (NAMED + 3)), WORKER)
    message = said.records[1].getMessage()
    assert f"{UUID(int=NAMED - 1)} (quarantined) and 3 more. " in message
    assert str(UUID(int=NAMED)) not in message


@pytest.mark.parametrize(
    ("report", "levels"),
    [
        ("", ["WARNING", "ERROR"]),
        ("all", ["WARNING", "ERROR"]),
        ("ended", ["ERROR"]),
        ("none", []),
    ],
)
async def test_how_much_is_reported(said, monkeypatch, anyio_backend, report, levels):
    monkeypatch.setenv("CHANCY_RECOVERY_REPORT", report)
    Chancy("host=nowhere").plugins  # noqa: B018 - they are loaded
    await chancy_jobs_rescued(rescued(State.PENDING, State.LOST), WORKER)
    assert [record.levelname for record in said.records] == levels


async def test_a_report_that_does_not_exist_is_told_of_and_all_is_reported(
    said, monkeypatch, anyio_backend
):
    monkeypatch.setenv("CHANCY_RECOVERY_REPORT", "some")
    Chancy("host=nowhere").plugins  # noqa: B018
    assert said.messages == [
        "CHANCY_RECOVERY_REPORT must be one of all, ended, none, not 'some': all is reported"
    ]
    await chancy_jobs_rescued(rescued(State.PENDING), WORKER)
    assert len(said.records) == 2


def test_the_environment_overrules_the_programs_crash_limit(said, monkeypatch):
    monkeypatch.setenv("CHANCY_CRASH_LIMIT", "7")
    chancy = Chancy("host=nowhere", crash_limit=2)
    assert chancy.plugins.broken == {}
    assert chancy.crash_limit == 7
    assert said.messages == []


@pytest.mark.parametrize("nonsense", ["0", "-1", "32768", "three", "2.5", " "])
def test_a_crash_limit_that_makes_no_sense_changes_nothing_and_is_told_of(
    said, monkeypatch, nonsense
):
    monkeypatch.setenv("CHANCY_CRASH_LIMIT", nonsense)
    chancy = Chancy("host=nowhere", crash_limit=2)
    assert chancy.plugins.broken == {}
    assert chancy.crash_limit == 2
    (message,) = said.messages
    assert message == (
        f"CHANCY_CRASH_LIMIT must be a whole number from 1 to 32,767, not {nonsense!r}: "
        "the limit stays 2"
    )


@pytest.mark.parametrize("nonsense", [0, -1, 32_768, 2.0, True, "3", None])
def test_a_crash_limit_that_makes_no_sense_is_refused_where_it_is_given(nonsense):
    with pytest.raises(InvalidValue, match=r"crash_limit must be a whole number from 1 to 32,767"):
        Chancy("host=nowhere", crash_limit=nonsense)
    chancy = Chancy("host=nowhere")
    with pytest.raises(InvalidValue, match="crash_limit"):
        chancy.crash_limit = nonsense
    assert chancy.crash_limit == 3
