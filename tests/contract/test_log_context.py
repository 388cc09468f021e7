"""What log records say of the job that they were made for: the same on every executor."""

import copy
import logging
import pickle
from collections.abc import Iterator

import pytest
from attrs import evolve

from chancy_core import codec
from chancy_core.outcome import Kind
from chancy_core.run import Attempt
from chancy_plugins import log_context
from tests.attempts import attempt, opened, plugged

EVERY = ["async", "thread", "process"]
NAMES = ("job_id", "queue", "func", "attempt")
logger = logging.getLogger("acme.records")


@pytest.fixture(autouse=True)
def factory() -> Iterator[None]:
    """Install ours on top of what other tests have left; afterwards there is what was before."""
    before = logging.getLogRecordFactory()
    log_context.install.cache_clear()
    yield
    log_context.install.cache_clear()
    logging.setLogRecordFactory(before)


def suited(executor: str, func: str) -> str:
    return f"{func}_async" if executor == "async" else func


def seen(record: logging.LogRecord) -> tuple[object, ...]:
    return tuple(getattr(record, name) for name in NAMES)


@pytest.mark.parametrize("name", EVERY)
async def test_whatever_is_logged_while_a_job_runs_says_which(name: str, anyio_backend: str):
    plugins = plugged(log_context)
    tries = [attempt(suited(name, "log")) for _ in range(2)]
    tries.append(attempt("log_async"))
    async with opened(name, anyio_backend, plugins=plugins) as executor:
        for tried in tries:
            outcome = await tried.run(executor, plugins)
            assert outcome.kind is Kind.SUCCESS, outcome
            line = f"{tried.job.id} default {tried.job.func} 1"
            assert codec.decode(outcome.result or "") == [line, line]
    assert log_context.fields() == {}


@pytest.mark.parametrize("name", ["async", "thread"])
async def test_nothing_is_left_of_a_job_that_raised(name: str, anyio_backend: str):
    plugins = plugged(log_context)
    async with opened(name, anyio_backend, plugins=plugins) as executor:
        outcome = await attempt(suited(name, "fail"), text="oh no").run(executor, plugins)
    assert outcome.kind is Kind.ERROR
    assert log_context.fields() == {}


async def test_two_jobs_at_once_are_told_apart(anyio_backend: str):
    one, two = (attempt("add", a=n, b=n).job for n in range(2))
    with log_context.chancy_call_context(one):
        with log_context.chancy_call_context(two):
            assert log_context.fields()["job_id"] == str(two.id)
        assert log_context.fields()["job_id"] == str(one.id)


def test_a_format_that_has_the_names_never_fails(caplog: pytest.LogCaptureFixture):
    log_context.install()
    logger.warning("there is no job")
    (record,) = caplog.records
    assert seen(record) == ("", "", "", 0)
    for style, text in (
        ("%", "%(job_id)s|%(queue)s|%(func)s|%(attempt)d"),
        ("{", "{job_id}|{queue}|{func}|{attempt:d}"),
        ("$", "$job_id|$queue|$func|$attempt"),
    ):
        assert logging.Formatter(text, style=style).format(record) == "|||0"


async def test_what_a_record_says_itself_takes_the_place_of_ours(
    caplog: pytest.LogCaptureFixture, anyio_backend: str
):
    """A logger refuses `extra` that overwrites attributes, which would end somebody's job."""
    log_context.install()
    job = attempt("add", a=1, b=2).job
    with log_context.chancy_call_context(job):
        logger.warning("hello", extra={"queue": "theirs", "attempt": 7, "other": 1})
        forbidden = {"name": "theirs"}
        with pytest.raises(KeyError, match="Attempt to overwrite 'name'"):
            logger.warning("hello", extra=forbidden)
    (record,) = caplog.records
    assert seen(record) == (str(job.id), "theirs", job.func, 7)
    assert vars(record)["other"] == 1
    text = logging.Formatter("%(job_id)s %(queue)s").format(record)
    assert text == f"{job.id} theirs"


def test_records_can_be_sent_on(caplog: pytest.LogCaptureFixture):
    log_context.install()
    logger.warning("hello")
    (record,) = caplog.records
    for sent in (copy.copy(record), pickle.loads(pickle.dumps(record))):
        assert type(vars(sent)) is dict
        assert vars(sent) == dict(vars(record))
    assert b"chancy" not in pickle.dumps(record)
    received = logging.makeLogRecord(dict(vars(record)) | {"job_id": "theirs"})
    assert received.job_id == "theirs"  # type: ignore[attr-defined]


def test_the_factory_that_was_there_is_asked_and_has_its_say(caplog: pytest.LogCaptureFixture):
    class Record(logging.LogRecord):
        """What somebody else makes of records."""

    def theirs(*args: object, **kwargs: object) -> logging.LogRecord:
        record = Record(*args, **kwargs)  # type: ignore[arg-type]
        record.func, record.tenant = "theirs", 7
        return record

    logging.setLogRecordFactory(theirs)
    log_context.install()
    ours = logging.getLogRecordFactory()
    log_context.install()
    assert logging.getLogRecordFactory() is ours
    logger.warning("hello")
    (record,) = caplog.records
    assert isinstance(record, Record)
    assert (seen(record), vars(record)["tenant"]) == (("", "", "theirs", 0), 7)


async def test_attempts_are_counted_from_one(anyio_backend: str):
    tried = attempt("log_async")
    tried = Attempt(evolve(tried.claimed, job=evolve(tried.job, attempts=4, queue="mail")))
    plugins = plugged(log_context)
    async with opened("async", anyio_backend, plugins=plugins) as executor:
        outcome = await tried.run(executor, plugins)
    first, _ = codec.decode(outcome.result or "")
    assert first == f"{tried.job.id} mail {tried.job.func} 5"
