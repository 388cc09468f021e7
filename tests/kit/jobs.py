"""The jobs that the tests of the testing kit push."""

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import anyio
import pytest

from chancy import INJECTED, Chancy, QueuedJob, Snooze, job

#: The application under test, for jobs that push jobs.
app: list[Chancy] = []
#: What the jobs have done, in order.
said: list[Any] = []
#: Set by `hold` when it has begun.
held: list[anyio.Event] = []


@dataclass
class Place:
    street: str
    number: int


class Refused(Exception):
    """An error of a job's own."""


@job(name="kit.greet", queue="mail")
async def greet(name: str) -> str:
    await anyio.sleep(0)
    said.append(name)
    return f"hello, {name}"


@job(name="kit.renamed", aliases=["kit.former"], version=2, upcasters={1: lambda given: given})
async def renamed(name: str) -> str:
    return name


@job(name="kit.plain", queue="mail")
def plain(name: str = "") -> int:
    said.append(name)
    return threading.get_ident()


@job(name="kit.fail", queue="mail", max_attempts=3)
async def fail(until: int, *, me: QueuedJob = INJECTED) -> int:
    said.append(me.attempts)
    if me.attempts < until:
        raise Refused(f"try {me.attempts + 1}")
    return me.attempts


@job(name="kit.nap", queue="mail")
async def nap(times: int, *, me: QueuedJob = INJECTED) -> int:
    if me.meta.get("snoozed", 0) < times:
        raise Snooze(3600)
    return me.attempts


@job(name="kit.fan", queue="fan")
async def fan(names: list[str]) -> None:
    said.append("fan")
    await app[0].push_many(greet.bind(name=name) for name in names)
    said.append("fanned")


@job(name="kit.fan_plainly", queue="fan")
def fan_plainly(names: list[str]) -> int:
    for name in names:
        app[0].sync_push(plain.bind(name=name))
    return threading.get_ident()


@job(name="kit.endless")
async def endless() -> None:
    await app[0].push(endless.bind())


@job(name="kit.deliver", queue="post")
async def deliver(to: UUID, place: Place, at: datetime | None = None) -> None:
    """Takes what is stored in another form than it is given in."""


@job(name="kit.hold", queue="mail")
async def hold() -> None:
    held[0].set()
    await anyio.sleep_forever()


@job(name="kit.wait", queue="mail")
async def wait() -> None:
    await anyio.sleep_forever()


@job(name="kit.ask")
async def ask(name: str) -> str:
    """Waits for what it has pushed."""
    reference = await app[0].push(greet.bind(name=name))
    return (await app[0].wait_for_job(reference, timeout=10)).result()


@job(name="kit.give_up")
async def give_up() -> None:
    pytest.fail("seen from inside of a job")


@job(name="kit.give_up_plainly")
def give_up_plainly() -> None:
    pytest.fail("seen from inside of a job")
