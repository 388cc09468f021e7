"""Jobs whose functions were renamed, and their arguments changed; children import them here."""

from datetime import date
from typing import Any

from chancy import INJECTED, QueuedJob, job

#: What this process's upcasters were given.
lifted: list[dict[str, Any]] = []


def name_the_recipient(arguments: dict[str, Any]) -> dict[str, Any]:
    lifted.append(dict(arguments))
    return {"to": arguments.pop("address"), **arguments}


def say_when(arguments: dict[str, Any]) -> dict[str, Any]:
    lifted.append(dict(arguments))
    return {**arguments, "due": "2026-01-02"}


CHANGES = {1: name_the_recipient, 2: say_when}


def _sent(to: str, due: date, me: QueuedJob) -> list[Any]:
    assert isinstance(due, date)
    me.meta["seen"] = me.version
    return [to, due.isoformat(), me.func, me.version, me.kwargs]


@job(
    name="versioned.send",
    aliases=["versioned.mail.send", "versioned.post"],
    version=3,
    upcasters=CHANGES,
)
def send(to: str, due: date, *, me: QueuedJob = INJECTED) -> list[Any]:
    return _sent(to, due, me)


@job(name="versioned.send_async", aliases="versioned.mail.send_async", version=3, upcasters=CHANGES)
async def send_async(to: str, due: date, *, me: QueuedJob = INJECTED) -> list[Any]:
    return _sent(to, due, me)


def _raise(arguments: dict[str, Any]) -> dict[str, Any]:
    raise LookupError("nobody knows what that meant")


def _forget(arguments: dict[str, Any]) -> Any:
    arguments["b"] = 1  # and does not return them


def _misname(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"z": 1}


def _leave_json(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"a": object()}


@job(name="versioned.raise", version=2, upcasters={1: _raise})
async def raising(a: int) -> int:
    return a


@job(name="versioned.forget", version=2, upcasters={1: _forget})
async def forgetting(a: int) -> int:
    return a


@job(name="versioned.misname", version=2, upcasters={1: _misname})
async def misnaming(a: int) -> int:
    return a


@job(name="versioned.leave_json", version=2, upcasters={1: _leave_json})
async def leaving_json(a: int) -> int:
    return a
