"""A stage for the jobs of one test: they report here, and wait for what the test tells them."""

from typing import Any

import anyio

from chancy import Chancy, job
from chancy_core.postgres import Connection


class Stage:
    """What the jobs of one test do: they report here, and wait for what the test tells them."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.now = self.most = 0
        self.changed = anyio.Event()
        self.go = anyio.Event()
        self.passed = anyio.Event()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    def begin(self, number: int) -> None:
        self.begun.append(number)
        self.now += 1
        self.most = max(self.most, self.now)
        self._tell()

    async def play(self, number: int) -> None:
        self.begin(number)
        try:
            await self.go.wait()
            self.ended.append(number)
        finally:
            self.now -= 1
            self._tell()

    async def until_begun(self, count: int) -> None:
        with anyio.fail_after(10):
            while len(self.begun) < count:
                await self.changed.wait()


#: The stages of the running tests, by the name of their database.
stages: dict[str, Stage] = {}


@job(name="life.play", queue="q")
async def play(stage: str, number: int) -> int:
    await stages[stage].play(number)
    return number


@job(name="life.pass", queue="other")
async def pass_by(stage: str) -> None:
    stages[stage].passed.set()


async def push(chancy: Chancy, dsn: str, count: int, **options):
    return await chancy.push_many(
        play.bind(stage=dsn, number=n).options(**options) for n in range(count)
    )


async def connect(dsn: str) -> Connection[tuple[Any, ...]]:
    return await Connection.connect(dsn, autocommit=True)
