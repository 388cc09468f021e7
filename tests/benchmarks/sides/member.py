"""One of several worker processes: works until its standard input ends, then says what ran there.

python -m tests.benchmarks.sides.member NAME
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from subprocess import PIPE, Popen
from typing import Any

import anyio
from anyio import to_thread
from attrs import field, frozen

from chancy import Chancy, Worker
from tests.benchmarks.peers import side
from tests.benchmarks.sides import work


async def member(name: str) -> None:
    async with Chancy(side.DSN) as chancy:
        worker = Worker(chancy, name=name)
        async with worker:
            while not worker.queues:
                await anyio.sleep(0.01)
            print("ready", flush=True)
            await to_thread.run_sync(sys.stdin.read)
    print(json.dumps({"ran": work.RAN, "spans": work.SPANS}))


@frozen
class Member:
    """Such a process, and once it has left, what ran there."""

    name: str
    process: "Popen[str]"
    ran: list[int] = field(factory=list)
    spans: list[tuple[int, float, float]] = field(factory=list)

    def leave(self) -> None:
        """End it in its own time, and read what it says."""
        said, _ = self.process.communicate()
        if self.process.returncode:
            raise SystemExit(f"worker {self.name} ended with {self.process.returncode}")
        told: dict[str, Any] = json.loads(said.splitlines()[-1])
        self.ran.extend(told["ran"])
        self.spans.extend(tuple(span) for span in told["spans"])


@contextmanager
def members(number: int) -> Iterator[Sequence[Member]]:
    """So many worker processes, ready to claim; at the end of the block they leave."""
    command = [sys.executable, "-m", "tests.benchmarks.sides.member"]
    begun = [
        Member(f"w{n}", Popen([*command, f"w{n}"], stdin=PIPE, stdout=PIPE, text=True))
        for n in range(number)
    ]
    try:
        for each in begun:
            assert each.process.stdout is not None
            if each.process.stdout.readline() != "ready\n":
                raise SystemExit(f"worker {each.name} did not become ready")
        yield begun
        for each in begun:
            each.leave()
    finally:
        for each in begun:
            each.process.kill()
            each.process.wait()


if __name__ == "__main__":
    work.run(member(sys.argv[1]))
