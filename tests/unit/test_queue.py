"""Queues: settings that make no sense are refused where they are given."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from chancy import Queue
from chancy_core.errors import InvalidQueue

RECURSIVE: dict[str, Any] = {}
RECURSIVE["self"] = RECURSIVE


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a" * 101},
        {"name": "a\nb"},
        {"name": "\ud800"},
        {"name": 7},
        {"concurrency": 0},
        {"concurrency": 10_001},
        {"concurrency": 1.5},
        {"concurrency": True},
        {"concurrency": "4"},
        {"tags": "gpu"},
        {"tags": {"("}},
        {"tags": {"a" * 201}},
        {"tags": {""}},
        {"tags": {7}},
        {"tags": {"\0"}},
        {"tags": {"\ud800"}},
        {"tags": {r"(a)\1"}},  # no backtracking, so no back references
        {"executor": ""},
        {"executor": None},
        {"executor_options": [1]},
        {"executor_options": {1: 2}},
        {"executor_options": {"a": "\0"}},
        {"executor_options": {"a": float("nan")}},
        {"executor_options": {"a": object()}},
        {"executor_options": RECURSIVE},
        {"polling_interval": 0},
        {"polling_interval": 3601},
        {"polling_interval": float("nan")},
        {"polling_interval": "5"},
        {"rate_limit": 5},
        {"rate_limit_window": 1.0},
        {"rate_limit": 0, "rate_limit_window": 1.0},
        {"rate_limit": 5, "rate_limit_window": 0},
        {"state": "asleep"},
        {"resume_at": datetime.now(UTC)},  # of a queue that is not paused
        {"resume_at": datetime(2030, 1, 1), "state": "paused"},  # noqa: DTZ001
        {"eager_polling": 1},
    ],
    ids=lambda wrong: f"{next(iter(wrong))}-{next(iter(wrong.values()))!a:.25}",
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidQueue):
        Queue(**({"name": "q"} | wrong))


def test_what_nobody_sets_has_a_default_that_works() -> None:
    queue = Queue("q")
    assert queue.tags == {".*"}
    assert (queue.concurrency, queue.executor, queue.polling_interval) == (None, "process", 5)
    assert Queue("ü" * 100, concurrency=10_000, polling_interval=0.01).tags == queue.tags


def test_options_make_another_queue_and_check_it() -> None:
    queue = Queue("q", tags=["a", "b", "a"])  # type: ignore[arg-type]
    assert queue.options(concurrency=3) == Queue("q", tags={"a", "b"}, concurrency=3)
    with pytest.raises(InvalidQueue, match=r"'q'.*concurrency.*-1"):
        queue.options(concurrency=-1)


@pytest.mark.parametrize(
    "queue",
    [
        Queue("q"),
        Queue(
            "ü",
            concurrency=7,
            tags={"has=gpu", "*"},
            state=Queue.State.PAUSED,
            resume_at=datetime(2030, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))),
            executor="thread",
            executor_options={"a": [1, {"b": None}]},
            polling_interval=0.5,
            rate_limit=5,
            rate_limit_window=2.5,
            eager_polling=True,
        ),
    ],
)
def test_a_packed_queue_comes_back(queue: Queue) -> None:
    text = json.dumps(queue.pack())
    assert Queue.unpack(json.loads(text)) == queue
    assert Queue.unpack({"name": queue.name}) == Queue(queue.name)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        {},
        {"name": "q", "colour": "red"},
        {"name": "q", "tags": None},
        {"name": "q", "resume_at": "soon"},
        {"name": "q", "concurrency": 0},
        {"name": "q", "concurrency": []},
    ],
)
def test_what_was_never_a_packed_queue_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidQueue):
        Queue.unpack(wrong)


def test_a_bad_pattern_is_told_by_the_error_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidQueue, match=r"'a\(b'.*missing \)"):
        Queue("q", tags={"a(b"})
    assert capfd.readouterr() == ("", "")
