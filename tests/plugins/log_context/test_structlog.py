"""What structlog makes of an event says which job it belongs to, on every executor."""

import sys
from typing import Any

import pytest
import structlog

from chancy_core import codec
from chancy_core.outcome import Kind
from chancy_plugins import log_context
from tests import said
from tests.attempts import attempt, opened, plugged
from tests.dask_cluster import DaskCluster

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
    tried = attempt(f"tests.said.{'say_async' if name == 'async' else 'say'}")
    async with opened(name, anyio_backend, said.__name__, plugins) as executor:
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


@pytest.mark.slow
async def test_on_a_dask_cluster(dask: DaskCluster, anyio_backend: str) -> None:
    plugins = plugged(log_context)
    tried = attempt("tests.said.say")
    options: dict[str, Any] = {"plugins": plugins, "address": dask.address}
    async with opened("dask", anyio_backend, said.__name__, **options) as executor:
        outcome = await tried.run(executor, plugins)
        executor.settled([tried.job])
    first, _ = codec.decode(outcome.result or "")
    assert (first["job_id"], first["tenant"]) == (str(tried.job.id), 7)


def test_what_belongs_to_no_job_stays_as_it_is() -> None:
    kept: list[Any] = []

    def keep(_: Any, __: str, event: Any) -> Any:
        kept.append(dict(event))
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[log_context.structlog_processor, keep])
    log.warning("hello")
    assert kept == [{"event": "hello"}]
