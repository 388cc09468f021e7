"""What a plugin makes of a job after an attempt: its state, its time, and its meta."""

from typing import Any

import pytest
from attrs import evolve

from chancy import INJECTED, Chancy, Queue, QueuedJob, State, Worker, job
from chancy_core.hookspecs import hookimpl
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_core.store import statements
from tests.attempts import running
from tests.postgres.stores import NAMES

pytestmark = pytest.mark.anyio


@job(name="verdicts.fail", queue="q", max_attempts=9, meta={"a": 1, "b": 1})
async def fail(*, me: QueuedJob = INJECTED) -> dict[str, Any]:
    me.meta["b"] = "mine"
    me.meta["tries"] = me.meta.get("tries", 0) + 1
    if me.meta["tries"] < 2:
        raise ConnectionError("nobody answers")
    return dict(me.meta)


@job(name="verdicts.plain", queue="q", version=2, upcasters={1: dict})
async def plain() -> None: ...


class Rewriting:
    """Writes down what happened, puts off what failed, and turns a success into a failure."""

    @hookimpl
    def chancy_verdict(self, job: QueuedJob, outcome: Outcome) -> Verdict:
        told = {"b": "theirs", "kind": outcome.kind.value, "arguments_version": 9}
        if outcome.kind is Kind.ERROR:
            return Verdict(State.SCHEDULED, counted=False, delay=0.05, meta=told)
        return Verdict(State.FAILED if job.func == plain.name else State.SUCCEEDED, meta=told)


async def test_a_plugin_rewrites_state_schedule_and_meta(dsn: str) -> None:
    async with Chancy(dsn, plugins=[Rewriting()]) as chancy:
        await chancy.declare(Queue("q", executor="async"))
        one, other = await fail.push(chancy), await plain.push(chancy)
        async with Worker(chancy):
            done, turned = await chancy.wait_for_jobs([one, other], timeout=30)
    assert (done.state, done.attempts, done.claims) == (State.SUCCEEDED, 1, 2)
    # What the second attempt has found, and what has become of it.
    assert done.result() == {"a": 1, "b": "mine", "kind": "error", "tries": 2}
    assert done.meta == {"a": 1, "b": "theirs", "kind": "success", "tries": 2}
    assert (turned.state, turned.version) == (State.FAILED, 2)
    assert turned.meta == {"b": "theirs", "kind": "success"}


@pytest.mark.parametrize("told", [None, '{"x":1}'])
def test_a_meta_that_cannot_be_written_again_stays(told: str | None) -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    tried = evolve(running("add", a=1, b=1), meta={"deep": deep}, lease_id=running("add").id)
    settled = Settlement(
        tried, Outcome(Kind.SUCCESS, "1", meta=told), Verdict(State.SUCCEEDED, meta={"y": 2})
    )
    text = str(statements.finish(NAMES, [settled]).params["metas"])
    assert ("x" in text) is (told is not None)
    assert ("y" in text) is (told is not None)
