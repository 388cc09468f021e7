"""Assertions about what was pushed, and what they say when they fail."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from chancy import Chancy, Job
from chancy_core.errors import InvalidValue
from chancy_core.testing import drain
from tests.kit.jobs import Place, deliver, greet, plain, renamed

pytestmark = pytest.mark.anyio

WHO = UUID("6b5e4a55-4d51-4f4e-9d0e-000000000001")
LATER = datetime(2999, 1, 1, tzinfo=UTC)


async def test_the_job_that_fits_is_returned(chancy_app: Chancy, chancy_enqueued):
    first = await chancy_app.push(greet.bind(name="Ada"))
    await chancy_app.push(greet.bind(name="Bob"))
    await chancy_app.push(greet.bind(name="Cy").options(queue="other", scheduled_at=LATER))
    assert chancy_enqueued.assert_one(greet, name="Ada").id == first.id
    assert chancy_enqueued.assert_one("kit.greet", name="Ada") == await chancy_app.get_job(first)
    assert chancy_enqueued.assert_one(name="Cy").scheduled_at == LATER
    assert [j.kwargs["name"] for j in chancy_enqueued.all(greet)] == ["Ada", "Bob", "Cy"]
    assert [j.kwargs["name"] for j in chancy_enqueued.on("mail").all()] == ["Ada", "Bob"]
    chancy_enqueued.assert_count(3)
    chancy_enqueued.assert_none(plain)
    await drain(chancy_app)
    chancy_enqueued.assert_one(greet)
    chancy_enqueued.on("mail").assert_none()


async def test_values_are_compared_as_they_are_stored(chancy_app: Chancy, chancy_enqueued):
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    await chancy_app.push(deliver.bind(to=WHO, place=Place("Elm", 5), at=at))
    chancy_enqueued.assert_one(deliver, to=WHO)
    chancy_enqueued.assert_one(deliver, to=str(WHO), at=at)
    assert len(chancy_enqueued.all(deliver, place=Place("Elm", 5))) == 1
    chancy_enqueued.assert_none(deliver, place=Place("Elm", 6))
    chancy_enqueued.assert_none(deliver, at=at + timedelta(seconds=1))


async def test_a_job_under_a_former_name_is_found_by_it_and_run(
    chancy_app: Chancy, chancy_enqueued
):
    former = await chancy_app.push(Job("kit.former", kwargs={"name": "Ada"}))
    present = await chancy_app.push(renamed.bind("Bob"))
    assert chancy_enqueued.assert_one("kit.former", name="Ada").id == former.id
    assert chancy_enqueued.assert_one(renamed).id == present.id
    ran = await drain(chancy_app)
    assert [job.result() for job in ran.jobs] == ["Ada", "Bob"]


def said_by(assertion, *args, **kwargs) -> str:
    with pytest.raises(AssertionError) as failed:
        assertion(*args, **kwargs)
    return str(failed.value)


async def test_a_failure_shows_what_is_nearest(chancy_app: Chancy, chancy_enqueued):
    await chancy_app.push(plain.bind(name="Zoe"))
    await chancy_app.push(greet.bind(name="Ada"))
    await chancy_app.push(greet.bind(name="x" * 500).options(scheduled_at=LATER))
    told = said_by(chancy_enqueued.assert_one, greet, name="Zoe")
    assert told.splitlines() == [
        "expected 1 live job of kit.greet(name='Zoe', ...), found none",
        "the nearest that there are:",
        "  kit.greet(name='Ada'): pending in queue 'mail'",
        "    but name is 'Ada'",
        f"  kit.greet(name='{'x' * 76}...): scheduled until {LATER} in queue 'mail'",
        f"    but name is '{'x' * 76}...",
        "  kit.plain(name='Zoe'): pending in queue 'mail'",
        "    but it is kit.plain",
    ]


async def test_a_failure_shows_what_there_is_too_many_of(chancy_app: Chancy, chancy_enqueued):
    await chancy_app.push_many(greet.bind(name=f"{n}") for n in range(7))
    told = said_by(chancy_enqueued.on("mail").assert_none, greet).splitlines()
    assert told[0] == "expected no live jobs of kit.greet(...) in queue 'mail', found 7"
    assert told[1:3] == ["these:", "  kit.greet(name='0'): pending in queue 'mail'"]
    assert told[-1] == "  and 2 more"
    told = said_by(chancy_enqueued.assert_one)
    assert told.startswith("expected 1 live job of any function(...), found 7")


async def test_a_failure_says_what_has_run_already(chancy_app: Chancy, chancy_enqueued):
    await chancy_app.push_many([greet.bind(name="Ada"), greet.bind(name="Bob")])
    await drain(chancy_app)
    assert said_by(chancy_enqueued.assert_one, greet, name="Ada").splitlines() == [
        "expected 1 live job of kit.greet(name='Ada', ...), found none",
        "there is no live job at all",
        "finished already:",
        "  kit.greet(name='Ada'): succeeded in queue 'mail'",
    ]


async def test_what_could_never_fit_is_an_error_and_no_success(chancy_app, chancy_enqueued):
    for func in (greet, "kit.greet"):
        with pytest.raises(InvalidValue, match=r"kit.greet.* no argument 'nmae'"):
            chancy_enqueued.assert_none(func, nmae="Ada")
    with pytest.raises(InvalidValue, match="decorated with @job"):
        chancy_enqueued.assert_none(greet.func)
    chancy_enqueued.assert_none("somebody.elses", nmae="Ada")


def test_plain_tests_ask_in_the_same_way(chancy_app: Chancy, chancy_enqueued):
    chancy_app.sync_push(greet.bind(name="Ada"))
    chancy_enqueued.assert_one(greet, name="Ada")
