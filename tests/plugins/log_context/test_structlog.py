"""What structlog makes of an event says which job it belongs to, on every executor."""

import sys
from typing import Any

import pytest
import structlog

from chancy_core import codec
from chancy_core.outcome import Kind
from chancy_plugins import log_context
from tests import watched
from tests.attempts import attempt, opened, plugged

pytestmark = pytest.mark.anyio

EXECUTORS = [
    "async",
    "thread",
    "process",
    pytest.param(
        "interpreter",
        marks=pytest.mark.skipif(sys.version_info < (3, 13), reason="there are none before 3.13"),
    ),
]


@pytest.mark.parametrize("name", EXECUTORS)
async def test_events_say_which_job_they_are_of(name: str, anyio_backend: str) -> None:
    plugins = plugged(log_context)
    tried = attempt(f"tests.watched.{'say_async' if name == 'async' else 'say'}")
    async with opened(name, anyio_backend, watched.__name__, plugins) as executor:
        outcome = await tried.run(executor, plugins)
    assert outcome.kind is Kind.SUCCESS, outcome
    ours = {
        "job_id": str(tried.job.id),
        "queue": "default",
        "func": tried.job.func,
        "attempt": 1,
    }
    assert codec.decode(outcome.result or "") == [
        ours | {"tenant": 7, "event": "hello"},
        ours | {"queue": "theirs", "event": "again"},
    ]


def test_what_belongs_to_no_job_stays_as_it_is() -> None:
    said: list[Any] = []

    def keep(_: Any, __: str, event: Any) -> Any:
        said.append(dict(event))
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[log_context.structlog_processor, keep])
    log.warning("hello")
    assert said == [{"event": "hello"}]
