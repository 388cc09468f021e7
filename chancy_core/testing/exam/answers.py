"""The parts of the exam about what a call gives back: results, errors and refusals."""

from datetime import UTC, datetime
from typing import Any

from chancy_core import codec
from chancy_core.executor import Capability, Executor
from chancy_core.job import Limit
from chancy_core.outcome import Kind, Outcome
from chancy_core.testing.exam import jobs
from chancy_core.testing.exam.bench import Bench, told
from chancy_core.testing.exam.mistake import expect

#: What a function is given, and is to return: JSON of each kind, and a large one.
VALUES = (None, False, -1.5, "ü\n\x7f\U0001f600", [[], {"a": [None, {}]}], "x" * 900_000)


async def returns(bench: Bench) -> None:
    """It returns what the function returned; the function has its arguments and its job."""
    async with bench.opened() as executor:
        for kind in bench.kinds:
            for value in VALUES:
                outcome = await bench.outcome(executor, f"echo{kind}", value=value)
                expect(
                    outcome.kind is Kind.SUCCESS and _result(outcome) == value,
                    f"a function that is given and returns {codec.shown(value)} should do so",
                    told(outcome),
                )
            day = datetime(2026, 2, 28, tzinfo=UTC)
            outcome = await bench.outcome(executor, f"tomorrow{kind}", when=day)
            expect(
                outcome == Outcome(Kind.SUCCESS, '"2026-03-01T00:00:00+00:00"'),
                "arguments should come as annotated: a datetime",
                told(outcome),
            )
            await _knows_its_job(bench, executor, kind)


async def _knows_its_job(bench: Bench, executor: Executor, kind: str) -> None:
    outcome = await bench.outcome(executor, f"known{kind}", Limit(Limit.Type.TIME, 60))
    seen = _result(outcome)
    expect(
        isinstance(seen, dict) and 0 < (seen.get("time") or 0) <= 60,
        "a function that asks for its job should be given it, with the time that is left",
        told(outcome),
    )
    expect(
        outcome.meta is not None and codec.decode(outcome.meta) == {"seen": True},
        "what a function makes of its job's meta should be known from the call",
        f"the meta of the outcome is {outcome.meta}",
    )


def _result(outcome: Outcome) -> Any:
    return codec.decode(outcome.result or "null")


async def raises(bench: Bench) -> None:
    """It raises what the function raised: its class, its text; `SystemExit` is no exception."""
    cases = {
        "refuse": f"{jobs.__name__}.Refusal",
        "exit": "SystemExit",
        "pickle": f"{jobs.__name__}.Stubborn",
    }
    async with bench.opened() as executor:
        for kind in bench.kinds:
            for how, name in cases.items():
                outcome = await bench.outcome(executor, f"fail{kind}", how=how)
                text = "not to be pickled" if how == "pickle" else "no way"
                failure = outcome.failure
                expect(
                    outcome.kind is Kind.ERROR
                    and failure is not None
                    and (failure.type, failure.message) == (name, text),
                    f"a function that raises {name}({text!r}) should end in that error",
                    told(outcome),
                )
            outcome = await bench.outcome(executor, f"fail{kind}", how="snooze")
            expect(
                (outcome.kind, outcome.retry_after) == (Kind.SNOOZED, 7),
                "a function that raises Snooze(7) should be put off by 7 seconds",
                told(outcome),
            )
        await bench.still_works(executor, "an error")


async def refuses(bench: Bench) -> None:
    """It refuses what it cannot run, by the error that says so, and runs nothing then."""
    async with bench.opened() as executor:
        for kind in {"", "_async"} - set(bench.kinds):
            await _ends(bench, executor, f"echo{kind}", Kind.UNSUPPORTED, value=1)
        for kind in bench.kinds:
            await _ends(bench, executor, f"nobody{kind}", Kind.UNKNOWN_FUNCTION)
            await _ends(bench, executor, f"tomorrow{kind}", Kind.ERROR, "InvalidValue", when="x")
            if not bench.able(Capability.MEMORY_LIMIT):
                limit = Limit(Limit.Type.MEMORY, 1e9)
                outcome = await bench.outcome(executor, f"echo{kind}", limit, value=1)
                expect(
                    outcome.kind is Kind.UNSUPPORTED,
                    "a memory limit that it does not keep should be refused by Unsupported",
                    told(outcome),
                )
        await bench.still_works(executor, "a refusal")


async def _ends(
    bench: Bench, executor: Executor, func: str, as_: Kind, error: str = "", **kwargs: Any
) -> None:
    outcome = await bench.outcome(executor, func, **kwargs)
    kind = outcome.failure.type if outcome.failure else ""
    expect(
        outcome.kind is as_ and error in kind,
        f"{func}({kwargs}) should end as {as_}{error and f', by {error}'}",
        told(outcome),
    )
