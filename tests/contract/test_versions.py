"""Jobs that were pushed under a former name, or with arguments of a former version."""

import importlib.util
from typing import Any

import pytest
from attrs import evolve

from chancy_core import codec
from chancy_core.executor import Executor
from chancy_core.outcome import Kind, Outcome, refuser
from chancy_core.run import Attempt
from chancy_executors import subinterpreter
from tests import versioned_jobs
from tests.attempts import attempt, opened, plugged
from tests.dask_attempts import Sent
from tests.dask_cluster import DaskCluster

SOURCE = versioned_jobs.__name__
EVERY = [
    "async",
    "thread",
    "process",
    pytest.param(
        "interpreter",
        marks=pytest.mark.skipif(
            not subinterpreter.AVAILABLE, reason="sub-interpreters need Python 3.13"
        ),
    ),
]
#: The same call, in the words of each version.
CALLS = {
    1: {"address": "ada"},
    2: {"to": "ada"},
    3: {"to": "ada", "due": "2026-01-02"},
}


def suited(executor: str, func: str) -> str:
    return f"{func}_async" if executor == "async" else func


def of_version(func: str, version: int, **kwargs: Any) -> Attempt:
    made = attempt(func, **kwargs)
    return Attempt(evolve(made.claimed, job=evolve(made.job, version=version)))


async def check(executor: Executor, name: str, version: int, tried: Attempt) -> None:
    outcome = await tried.run(executor)
    assert outcome.kind is Kind.SUCCESS, outcome
    told = codec.decode(outcome.result or "")
    assert told == ["ada", "2026-01-02", name, version, CALLS[version]]
    meta = codec.decode(outcome.meta or "")
    assert meta == {"seen": version} | ({} if version == 1 else {"arguments_version": version})


@pytest.mark.parametrize("version", CALLS)
@pytest.mark.parametrize("func", ["versioned.send", "versioned.mail.send"])
@pytest.mark.parametrize("name", EVERY)
async def test_a_job_of_each_name_and_version_gets_what_it_meant(
    name: str, func: str, version: int, anyio_backend: str
) -> None:
    func = suited(name, func)
    async with opened(name, anyio_backend, SOURCE) as executor:
        await check(executor, func, version, of_version(func, version, **CALLS[version]))


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="it comes with chancy[dask]"
)
async def test_so_it_does_on_a_cluster(dask: DaskCluster, anyio_backend: str) -> None:
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        for version, kwargs in CALLS.items():
            tried = Sent(of_version("versioned.mail.send", version, **kwargs).claimed)
            await check(executor, "versioned.mail.send", version, tried)


@pytest.mark.parametrize("name", EVERY)
async def test_a_job_of_newer_code_is_refused_and_nothing_of_it_is_touched(
    name: str, anyio_backend: str
) -> None:
    versioned_jobs.lifted.clear()
    async with opened(name, anyio_backend, SOURCE) as executor:
        tried = of_version(suited(name, "versioned.send"), 4, to="ada", at="noon")
        outcome = await tried.run(executor, plugged())
    assert outcome.kind is Kind.UNKNOWN_FUNCTION, outcome
    assert outcome.failure is not None
    assert outcome.failure.attempt == 0
    assert "up to version 3 here, and the job has those of version 4" in outcome.failure.message
    assert (outcome.meta, versioned_jobs.lifted) == (None, [])
    assert refuser(outcome.failure.message) == plugged().worker_name


async def test_what_no_decorator_has_registered_knows_the_first_version_only(
    anyio_backend: str,
) -> None:
    async with opened("async", anyio_backend) as executor:
        outcome = await of_version("add_async", 2, a=1, b=2).run(executor)
    assert outcome.kind is Kind.UNKNOWN_FUNCTION


@pytest.mark.parametrize(
    ("func", "says"),
    [
        ("raise", "from version 1 to 2 raised LookupError: nobody knows what that meant"),
        ("forget", "from version 1 to 2 answered NoneType, and not the arguments as a dict"),
        ("misname", "lifted from version 1 to 2: .*'a' is missing, it has no argument 'z'"),
        ("leave_json", "version 2.a: object cannot be stored"),
    ],
)
async def test_what_an_upcaster_does_wrong_is_the_jobs_error(
    func: str, says: str, anyio_backend: str
) -> None:
    async with opened("async", anyio_backend, SOURCE) as executor:
        outcome = await of_version(f"versioned.{func}", 1, a=1).run(executor)
        right = await of_version(f"versioned.{func}", 2, a=1).run(executor)
    assert right == Outcome(Kind.SUCCESS, "1")
    assert outcome.kind is Kind.ERROR
    assert outcome.failure is not None
    assert (outcome.failure.type, outcome.failure.attempt) == ("InvalidValue", 1)
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(outcome.failure.message)
