"""The demo's workers: processes that are started, listened to, killed and let go."""

import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import anyio
from anyio.abc import Process, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import define, field

from chancy_core.app import Chancy, background
from chancy_core.errors import ChancyError

#: Seconds that a worker may take to leave before it is killed.
LEAVE = 15.0
#: How long a line may be that a worker tells.
_LINE = 4096


@define(eq=False)
class Hand:
    """One worker, and what it has told."""

    name: str
    tags: Sequence[str]
    process: Process
    #: The queues that it runs.
    queues: set[str] = field(factory=set)
    #: How often it told of what happens to jobs: `retried`, `rescued`.
    told: Counter[str] = field(factory=Counter)
    #: The incarnation that the jobs know it by, once its row was seen.
    id: UUID | None = None
    #: Whether its lease holds.
    alive: bool = False
    killed: bool = False

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self.process.pid

    def hear(self, line: bytes) -> None:
        """Take a line that the process has written."""
        told = json.loads(line)
        if told["what"] == "runs":
            self.queues.add(told["subject"])
        else:
            self.told[told["what"]] += 1


class Crew:
    """All workers of one demo, the killed ones too."""

    def __init__(self, chancy: Chancy, backend: str, tasks: TaskGroup) -> None:
        self.hands: list[Hand] = []
        #: The names of all incarnations that were ever seen.
        self.names: dict[UUID, str] = {}
        self._chancy = chancy
        self._backend = backend
        self._tasks = tasks

    @property
    def living(self) -> list[Hand]:
        """Those that were not killed."""
        return [hand for hand in self.hands if not hand.killed]

    async def hire(self, name: str, tags: Sequence[str]) -> Hand:
        """Start a worker, which takes a moment to get to work."""
        # -P: a file in the current folder must not be taken for a module.
        command = [sys.executable, "-P", "-m", "chancy_core.cli.demo.hand"]
        process = await anyio.open_process(
            [*command, self._backend, name, self._chancy.names.prefix, *tags],
            env=os.environ | {"CHANCY_DSN": self._chancy.conninfo},
            stderr=None,
            start_new_session=True,  # Ctrl-C is for the demo, which lets its workers go
        )
        hand = Hand(name, tags, process)
        self.hands.append(hand)
        self._tasks.start_soon(self._listen, hand)
        return hand

    async def kill(self, hand: Hand) -> None:
        """Kill a worker with -9; what it leaves behind is for others to find."""
        hand.killed = True
        hand.process.kill()
        await hand.process.wait()

    async def look(self) -> None:
        """See whose lease holds. Raises `ChancyError` if one that was not killed has left."""
        for hand in self.living:
            if hand.process.returncode is not None:
                raise ChancyError(
                    f"worker {hand.name} of the demo left with status {hand.process.returncode}"
                )
        by_name = {hand.name: hand for hand in self.hands}
        for info in await self._chancy.get_all_workers():
            self.names[info.id] = info.name
            if info.name in by_name:
                hand = by_name[info.name]
                hand.id, hand.alive = info.id, info.alive

    async def leave(self) -> None:
        """Let all of them go, and kill those that do not: none is left after this."""
        async with anyio.create_task_group() as tasks:
            for hand in self.hands:
                tasks.start_soon(_let_go, hand.process)

    async def _listen(self, hand: Hand) -> None:
        assert hand.process.stdout is not None
        lines = BufferedByteReceiveStream(hand.process.stdout)
        while True:
            try:
                line = await lines.receive_until(b"\n", _LINE)
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.ClosedResourceError):
                return
            hand.hear(line)


async def _let_go(process: Process) -> None:
    assert process.stdin is not None
    with anyio.move_on_after(LEAVE):
        await process.stdin.aclose()
        await process.wait()
    if process.returncode is None:
        process.kill()
    await process.aclose()


@asynccontextmanager
async def hired(chancy: Chancy, backend: str) -> AsyncIterator[Crew]:
    """Have a crew, of nobody yet; no worker outlives the block."""
    async with background() as tasks:
        crew = Crew(chancy, backend, tasks)
        try:
            yield crew
        finally:
            with anyio.CancelScope(shield=True):
                await crew.leave()
