"""What a child logs is handled where its worker logs, as if the job had run there."""

import logging
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from chancy_core import codec
from chancy_core.outcome import Kind
from chancy_executors import records
from chancy_plugins import log_context
from tests import unruly
from tests.attempts import attempt, opened, plugged

UNRULY = unruly.__name__


class Heard(logging.Handler):
    """Keeps records, or only counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.count = 0
        self.keeps = True

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("acme"):
            self.count += 1
            if self.keeps:
                self.records.append(record)


@pytest.fixture
def heard() -> Iterator[Heard]:
    """All that loggers of `acme` handle here."""
    handler = Heard()
    logging.root.addHandler(handler)
    yield handler
    logging.root.removeHandler(handler)


@pytest.fixture
def level() -> Iterator[logging.Logger]:
    """The logger of the jobs, whose level may be set."""
    yield unruly.logger
    unruly.logger.setLevel(logging.NOTSET)


async def test_records_are_handled_as_if_they_were_made_here(
    anyio_backend: str, heard: Heard, level: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    level.setLevel(logging.INFO)
    async with opened("process", anyio_backend, UNRULY) as executor:
        pid = (await attempt("tests.unruly.who").run(executor)).result
        assert (await attempt("tests.unruly.log_all").run(executor)).kind is Kind.SUCCESS
    *plain, failed = heard.records
    assert [(one.name, one.levelname, one.getMessage()) for one in plain] == [
        ("acme.unruly", "INFO", "by its text at 20"),
        ("acme.unruly", "WARNING", "by its text at 30"),
        ("acme.unruly", "ERROR", "by its text at 40"),
        ("acme.unruly", "Level 35", "by its text at 35"),
    ]
    assert {(str(one.process), one.funcName, Path(one.pathname)) for one in heard.records} == {
        (pid, "log_all", Path(unruly.__file__))
    }
    assert (failed.getMessage(), vars(failed)["tenant"]) == ("it failed", 7)
    assert "thing" not in vars(failed)
    text = logging.Formatter("%(levelname)s %(message)s").format(failed)
    assert text.startswith("ERROR it failed\nTraceback (most recent call last):\n")
    assert text.endswith("ValueError: what went wrong")
    assert capfd.readouterr().err == ""


async def test_they_say_whose_they_are(anyio_backend: str, heard: Heard) -> None:
    plugins = plugged(log_context)
    tried = attempt("tests.unruly.log_all")
    async with opened("process", anyio_backend, UNRULY, plugins) as executor:
        assert (await tried.run(executor, plugins)).kind is Kind.SUCCESS
    assert len(heard.records) == 4
    for one in heard.records:
        text = logging.Formatter("%(job_id)s %(queue)s %(func)s %(attempt)d").format(one)
        assert text.splitlines()[0] == f"{tried.job.id} default tests.unruly.log_all 1"


async def test_the_loggers_of_the_worker_have_the_last_word(
    anyio_backend: str, heard: Heard, level: logging.Logger
) -> None:
    """Its level is that of now, and its filters are asked."""
    async with opened("process", anyio_backend, UNRULY) as executor:
        await attempt("tests.unruly.who").run(executor)
        level.setLevel(logging.ERROR)
        level.addFilter(no_failure)
        try:
            outcome = await attempt("tests.unruly.log_all").run(executor)
        finally:
            level.removeFilter(no_failure)
    assert outcome.kind is Kind.SUCCESS
    assert [one.getMessage() for one in heard.records] == ["by its text at 40"]


def no_failure(record: logging.LogRecord) -> bool:
    return record.getMessage() != "it failed"


async def test_what_a_filter_raises_is_none_of_the_jobs(
    anyio_backend: str, heard: Heard, capfd: pytest.CaptureFixture[str]
) -> None:
    def raising(record: logging.LogRecord) -> bool:
        raise RuntimeError("out of a filter")

    unruly.logger.addFilter(raising)
    try:
        async with opened("process", anyio_backend, UNRULY) as executor:
            outcome = await attempt("tests.unruly.log_all").run(executor)
    finally:
        unruly.logger.removeFilter(raising)
    assert outcome.kind is Kind.SUCCESS
    assert heard.records == []
    assert "RuntimeError: out of a filter" in capfd.readouterr().err


async def test_what_a_handler_of_the_child_takes_stays_there(
    anyio_backend: str, heard: Heard
) -> None:
    async with opened("process", anyio_backend, UNRULY) as executor:
        outcome = await attempt("tests.unruly.log_to_its_own").run(executor)
    assert outcome.result == "1"
    assert [one.getMessage() for one in heard.records] == ["it crosses"]


@pytest.mark.parametrize("force", [False, True])
async def test_modules_that_set_logging_up(
    anyio_backend: str,
    heard: Heard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    *,
    force: bool,
) -> None:
    """A plain `basicConfig` leaves what there is; one by force, or a dictConfig, replaces it."""
    (tmp_path / "acme_loud.py").write_text(
        "import logging, tests.unruly\n"
        f"logging.basicConfig(format='in the child: %(message)s', force={force})"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    async with opened("process", anyio_backend, "acme_loud") as executor:
        await attempt("tests.unruly.log_where_nobody_listens").run(executor)
    assert [one.getMessage() for one in heard.records] == ["hello"] * (not force)
    assert ("in the child: hello" in capfd.readouterr().err) is force


async def test_many_names_leave_no_loggers_behind(anyio_backend: str, heard: Heard) -> None:
    async with opened("process", anyio_backend, UNRULY) as executor:
        outcome = await attempt("tests.unruly.log_by_names", count=200).run(executor)
    assert outcome.kind is Kind.SUCCESS
    assert {one.name for one in heard.records} == {f"acme.unruly.{n}" for n in range(200)}
    assert not [name for name in logging.root.manager.loggerDict if name.startswith("acme.unruly.")]


@pytest.mark.parametrize(
    ("count", "size"), [(4_000, 5_000), pytest.param(100_000, 2_000, marks=pytest.mark.slow)]
)
async def test_however_much_is_logged_is_not_held_here(
    anyio_backend: str, count: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Heard()
    counting.keeps = False
    monkeypatch.setattr(unruly.logger, "propagate", False)  # pytest would keep them
    monkeypatch.setattr(unruly.logger, "handlers", [counting])
    async with opened("process", anyio_backend, UNRULY) as executor:
        await attempt("tests.unruly.log_much", count=100, size=size).run(executor)
        before = psutil.Process().memory_info().rss
        outcome = await attempt("tests.unruly.log_much", count=count, size=size).run(executor)
        grown = psutil.Process().memory_info().rss - before
    assert outcome.kind is Kind.SUCCESS
    assert counting.count == 100 + count
    assert grown < 8_000_000


async def test_records_and_answers_do_not_mix(anyio_backend: str, heard: Heard) -> None:
    """Several threads log while an answer larger than the pipe is sent; the rest comes later."""
    async with opened("process", anyio_backend, UNRULY) as executor:
        tried = attempt("tests.unruly.log_in_threads", threads=8, count=300, size=1_000)
        outcome = await tried.run(executor)
        assert len(codec.decode(outcome.result or "")) == 500_000
        for number in range(2_000):
            after = await attempt("tests.unruly.echo", value=number).run(executor)
            assert after.result == str(number)
            if heard.count == 8 * 300:
                break
    by_thread: dict[str, list[int]] = {}
    for one in heard.records:
        name, number, _ = one.getMessage().split()
        by_thread.setdefault(name, []).append(int(number))
    assert by_thread == {str(name): list(range(300)) for name in range(8)}


async def test_a_sending_that_is_cut_short_mixes_up_nothing(
    anyio_backend: str, heard: Heard
) -> None:
    """A job may raise on a signal, wherever it is at that moment."""
    async with opened("process", anyio_backend, UNRULY) as executor:
        outcome = await attempt("tests.unruly.log_on_a_signal", count=300).run(executor)
        assert outcome.kind is Kind.SUCCESS, outcome
        assert int(outcome.result or "0") > 0
        after = await attempt("tests.unruly.echo", value=1).run(executor)
        assert after.result == "1"
    assert {one.name for one in heard.records} == {"acme.unruly"}


def test_a_record_is_bounded_and_has_no_more_than_what_is_plain() -> None:
    record = logging.LogRecord("acme", 30, "x.py", 1, "%s", ("ü" * 50_000,), None)
    record.note, record.thing = "n" * 5_000, object()
    found = codec.decode(records.written(record).decode())
    assert len(found["msg"]) < 17_000
    assert len(found["note"]) < 1_100
    assert not {"thing", "args", "exc_info", "relativeCreated"} & found.keys()


def test_levels_are_those_that_are_set(level: logging.Logger) -> None:
    level.setLevel(logging.DEBUG)
    found = records.levels()
    assert found[""] == logging.root.level
    assert found["acme.unruly"] == logging.DEBUG
    assert "acme" not in found
