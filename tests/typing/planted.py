"""Right and wrong uses, read by type checkers and never run.

Each wrong line says in its comment what mypy and pyright report there; all others are right.
"""

from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, assert_type
from uuid import UUID

from chancy import INJECTED, Chancy, Job, JobFunction, Limit, QueuedJob, Reference, job
from chancy_core.function import SyncPusher


@job
async def welcome(address: str, *, times: int = 1) -> int:
    return len(address) * times


@job(name="acme.total", queue="math", max_attempts=3, limits=[Limit(Limit.Type.TIME, 30)])
def total(numbers: list[int]) -> float:
    return sum(numbers) / 2


def in_whole_numbers(given: dict[str, Any]) -> dict[str, int]:
    return {"x": round(given["x"])}


@job(aliases=["acme.stamped"], version=2, upcasters={1: in_whole_numbers}, exclusive=True)
async def stamp(x: int, *, me: QueuedJob = INJECTED) -> None:
    me.checkpoint()
    assert_type(me.time_remaining, float | None)
    me.meta["x"] = x
    me.priority = 7  # mypy: misc, pyright: reportAttributeAccessIssue


async def right(chancy: Chancy, sync: SyncPusher) -> None:
    coroutine: Coroutine[Any, Any, int] = welcome("a", times=2)
    assert_type(await coroutine, int)
    assert_type(total([1]), float)
    assert_type(welcome.bind("a", times=2), Job)
    assert_type(await welcome.push(chancy, "a"), Reference)
    assert_type(total.sync_push(sync, numbers=[1]), Reference)
    assert_type(stamp.bind(1), Job)
    twin: JobFunction[[list[int]], float] = total.options(queue="slow", scheduled_at=None)
    assert_type(twin.bind([1]), Job)
    assert_type(Job.from_func(total, meta={"a": 1}).with_kwargs(numbers=[1]), Job)
    reference = await chancy.push(total.bind([1]).options(scheduled_at=datetime.now(UTC)))
    done = await chancy.wait_for_job(reference)
    assert_type(done, QueuedJob)
    assert_type(reference.id, UUID)
    assert_type(done.with_priority(1), Job)
    assert_type((stamp.aliases, stamp.version), tuple[tuple[str, ...], int])
    assert_type(Job("acme.stamped", kwargs={"x": 1}, version=2).version, int)


def arguments() -> None:
    welcome.bind(7)  # mypy: arg-type, pyright: reportArgumentType
    welcome.bind()  # mypy: call-arg, pyright: reportCallIssue
    welcome.bind("a", time=2)  # mypy: call-arg, pyright: reportCallIssue
    welcome.bind("a", times="2")  # mypy: arg-type, pyright: reportArgumentType
    welcome.bind("a", 2)  # mypy: call-arg, pyright: reportCallIssue
    welcome.bind("a", queue="mail")  # mypy: call-arg, pyright: reportCallIssue
    total.bind(numbers=["1"])  # mypy: list-item, pyright: reportArgumentType
    total([1], 2)  # mypy: call-arg, pyright: reportCallIssue


async def pushing(chancy: Chancy, sync: SyncPusher) -> None:
    await welcome.push(chancy, 7)  # mypy: arg-type, pyright: reportArgumentType
    await welcome.push(chancy)  # mypy: call-arg, pyright: reportCallIssue
    await welcome.push("a")  # mypy: call-arg|arg-type, pyright: reportCallIssue
    await welcome.push(chancy, address="a", to="b")  # mypy: call-arg, pyright: reportCallIssue
    total.sync_push(sync, 7)  # mypy: arg-type, pyright: reportArgumentType
    total.sync_push(7, [1])  # mypy: arg-type, pyright: reportArgumentType
    await total.sync_push(sync, [1])  # mypy: misc, pyright: reportGeneralTypeIssues
    welcome.push(chancy, "a")  # mypy: unused-coroutine, pyright: reportUnusedCoroutine
    await chancy.push(welcome("a"))  # mypy: arg-type, pyright: reportArgumentType


def options() -> None:
    job(quue="mail")  # mypy: call-overload, pyright: reportCallIssue
    job(priority="high")  # mypy: call-overload, pyright: reportArgumentType
    welcome.options(quue="mail")  # mypy: call-arg, pyright: reportCallIssue
    welcome.options(priority="high")  # mypy: arg-type, pyright: reportArgumentType
    welcome.bind("a").options(limits=30)  # mypy: arg-type, pyright: reportArgumentType
    welcome.bind("a").options(kwargs={})  # mypy: call-arg, pyright: reportCallIssue
    welcome.bind("a").with_priority("high")  # mypy: arg-type, pyright: reportArgumentType
    Job.from_func(welcome, quue="mail")  # mypy: call-arg, pyright: reportCallIssue
    Job.from_func(options)  # mypy: arg-type, pyright: reportArgumentType
    total.options(queue="a").bind("b")  # mypy: arg-type, pyright: reportArgumentType


def changes() -> None:
    job(aliases=7)  # mypy: call-overload, pyright: reportArgumentType
    job(version="2")  # mypy: call-overload, pyright: reportArgumentType
    job(upcasters={"1": in_whole_numbers})  # mypy: dict-item, pyright: reportArgumentType
    job(upcasters={1: len})  # mypy: dict-item, pyright: reportArgumentType
    stamp.options(version=3)  # mypy: call-arg, pyright: reportCallIssue
    Job("f", version="2")  # mypy: arg-type, pyright: reportArgumentType


async def results(chancy: Chancy, reference: Reference) -> None:
    text: str = await welcome("a")  # mypy: assignment, pyright: reportAssignmentType
    number: int = total([1])  # mypy: assignment, pyright: reportAssignmentType
    reference.result()  # mypy: attr-defined, pyright: reportAttributeAccessIssue|reportUnknownMemberType
    await chancy.wait_for_job(7)  # mypy: arg-type, pyright: reportArgumentType
    await chancy.get_job(b"an id")  # mypy: arg-type, pyright: reportArgumentType
    await reference  # mypy: misc, pyright: reportGeneralTypeIssues
    print(text, number)
