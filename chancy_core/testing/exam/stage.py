"""Where held functions report, whatever process they run in: a socket that the exam listens on.

A connection is a function that has begun and waits. The exam lets it go by an answer, and sees
that it has ended, however it did, by the connection's end.
"""

from types import TracebackType
from typing import Any, Self, cast

import anyio
from anyio.abc import SocketAttribute, SocketListener, SocketStream

from chancy_core.testing.exam import jobs
from chancy_core.testing.exam.mistake import Mistake


class Held:
    """A function that has begun, and waits for an answer; *name* is what its call named it."""

    def __init__(self, stream: SocketStream) -> None:
        self.name = ""
        self._stream = stream

    async def report(self) -> None:
        """Hear its name."""
        self.name = (await self._stream.receive()).decode()

    async def let_go(self) -> None:
        """Have it return its own name."""
        await self._stream.send(self.name.encode())

    async def ended(self) -> None:
        """Wait until it has ended: its connection is closed, by itself or with its process."""
        try:
            await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, ConnectionError):
            return

    async def aclose(self) -> None:
        """Leave it: it returns or raises, at once."""
        await anyio.aclose_forcefully(self._stream)


class Stage:
    """Holds functions for the time of a block; at its end all are let go.

    async with Stage(patience=5) as stage:
        ... start a call of `hold` with stage.call("a") as its arguments ...
        (held,) = await stage.begun(1)
        await held.let_go()
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._all: list[Held] = []

    async def __aenter__(self) -> Self:
        made = await anyio.create_tcp_listener(local_host=jobs.HOST)
        (listener,) = made.listeners
        self._listener = cast("SocketListener", listener)
        self._port = made.extra(SocketAttribute.local_port)  # noqa: S610 - of anyio, not Django
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._listener.aclose()
            for held in self._all:
                await held.aclose()

    def call(self, name: str) -> dict[str, Any]:
        """Return the arguments with which `hold` reports here.

        It gives up long after the exam does, which must not take that for an end that it ordered.
        """
        return {"port": self._port, "name": name, "patience": 2 * self._patience}

    async def begun(self, count: int, what: str) -> list[Held]:
        """Wait until so many more have begun. Raises `Mistake`, by *what*, if they do not."""
        new: list[Held] = []
        with anyio.move_on_after(self._patience):
            while len(new) < count:
                held = Held(await self._listener.accept())
                self._all.append(held)
                await held.report()
                new.append(held)
        if len(new) < count:
            raise Mistake(f"{what}; {len(new)} did within {self._patience:g} s")
        return new
