"""What operations run their statements on: it looks like a pool, and yields each step.

Whoever drives the operation decides when a step happens, and sends its answer in. BEGIN is no step,
since it sees and locks nothing: it goes along with the first statement. COMMIT is one, also that of
a statement by itself: its locks are held, and its rows unseen, until then.
"""

import re
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files
from types import coroutine
from typing import Any

import psycopg
from attrs import frozen

from chancy_core.statement import Names, load

#: Statements that write or lock; those that only read hold nothing until their COMMIT.
_WRITES = re.compile(rb"\b(INSERT|UPDATE|DELETE|ensure_partitions|FOR SHARE)\b")
_REMARKS = re.compile(rb"--[^\n]*")


@frozen
class Step:
    """What one session asks of the database at once."""

    says: str
    text: bytes | str
    params: Mapping[str, Any] | None = None
    #: Of no interest to other sessions, whenever it happens: it is no step of an order.
    free: bool = False


@coroutine
def asked(step: Step) -> Generator[Step, Any, Any]:
    """Hand a step to whoever drives this operation; its answer is what comes back."""
    return (yield step)


@cache
def called(text: bytes) -> str:
    """The name of a statement of the core, or how another begins."""
    return _files().get(text) or _REMARKS.sub(b"", text).strip().decode().split("\n", 1)[0][:40]


@cache
def _files() -> dict[bytes, str]:
    found = (file.name for file in files("chancy_core.sql").iterdir() if file.name.endswith(".sql"))
    stems = [name.removesuffix(".sql") for name in found]
    return {Names().render(load(stem)).encode(): stem for stem in stems}


@cache
def _writes(text: bytes) -> bool:
    return _WRITES.search(_REMARKS.sub(b"", text)) is not None


class Answer:
    """What a cursor of ours has to say."""

    def __init__(self, rows: list[tuple[Any, ...]] | None) -> None:
        self.rownumber = None if rows is None else 0
        self._rows = rows or []

    async def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows


class Wire:
    """A pool of one connection, for the code of one session."""

    broken = closed = False

    def __init__(self, change: Mapping[str, tuple[str, str]] | None = None) -> None:
        self._depth = 0
        self._begun = False
        self._change = change or {}

    @asynccontextmanager
    async def connection(self, **_: Any) -> AsyncIterator["Wire"]:
        yield self

    async def execute(
        self, text: bytes, params: Mapping[str, Any] | None = None, *, binary: bool = False
    ) -> Answer:
        name = called(text)
        if name in self._change:
            text = self._changed(name, text)
        if b"set_config" in text:
            await asked(Step("limits", text, params, free=True))
            return Answer([])
        if self._depth or not _writes(text):
            return await self._one(name, text, params)
        async with self.transaction():
            return await self._one(name, text, params)

    async def _one(self, name: str, text: bytes, params: Mapping[str, Any] | None) -> Answer:
        if self._depth and not self._begun:
            text, self._begun = b"BEGIN;" + text, True
        found = await asked(Step(name, text, params))
        return Answer(found[-1] if found else None)

    def _changed(self, name: str, text: bytes) -> bytes:
        old, new = (Names().render(part).encode() for part in self._change[name])
        assert old in text, f"{name}.sql has no {old!r} (any more)"
        return text.replace(old, new)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        inner = self._depth > 0
        self._depth += 1
        if inner:
            await asked(Step("savepoint", b"SAVEPOINT nested", free=True))
        try:
            yield
        except Exception:
            self._depth -= 1
            if inner:
                await asked(Step("undo", b"ROLLBACK TO nested", free=True))
            elif self._begun:
                self._begun = False
                await asked(Step("rollback", b"ROLLBACK", free=True))
            raise
        self._depth -= 1
        if not inner and self._begun:
            self._begun = False
            await asked(Step("commit", b"COMMIT"))

    async def give_up(self) -> None:
        """Undo the transaction under way, at a time of its own."""
        self._begun = False
        await asked(Step("rollback", b"ROLLBACK"))


class Cut(psycopg.OperationalError):
    """The connection was lost, and what was sent last is in doubt."""
