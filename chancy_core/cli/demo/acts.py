"""The acts of the demo, in their order."""

from collections import Counter
from collections.abc import Callable

import anyio
from anyio import to_thread

from chancy_core.app import Chancy, background
from chancy_core.cli.demo.crew import Crew, Hand
from chancy_core.cli.demo.figures import Figures, Performance
from chancy_core.cli.demo.sources import Found, plain_loop
from chancy_core.cli.demo.stage import CPU, DISK, STUMBLE, Stage
from chancy_core.cli.demo.standing import Group, Standing, standing
from chancy_core.cli.demo.telling import Teller
from chancy_core.errors import ChancyError
from chancy_core.heartbeat import LEASE
from chancy_core.job import QueuedJob, Reference, State

#: Seconds between two looks at how things stand.
LOOK = 0.2
#: Seconds that anything may take before the demo gives up.
PATIENCE = 120.0
#: Seconds between two lines about what takes long.
NEWS = 4.0
#: How many jobs are read at once.
PAGE = 500


class Acts:
    """One performance."""

    def __init__(self, chancy: Chancy, crew: Crew, teller: Teller, stage: Stage) -> None:
        self._chancy = chancy
        self._crew = crew
        self._teller = teller
        self._stage = stage
        self._shared = stage.lines
        self._standing = Standing()
        self._pushed: list[Reference] = []
        self._jobs: list[QueuedJob] = []
        self._plain: Found = {}
        self._began = self._seconds = 0.0

    async def play(self) -> Figures:
        """Play all acts, and return what came of them. Raises `ChancyError` if one cannot go on."""
        await self._set_the_stage()
        await self._begin()
        await self._change_settings()
        async with background() as tasks:
            victim = await self._kill()
            done = anyio.Event()
            tasks.start_soon(self._compare, done)
            await self._rescue(victim)
            replacement = await self._replace(victim)
            await self._finish()
            await done.wait()
        return Performance(
            files=self._stage.files,
            queues=self._stage.queues,
            pushed=self._pushed,
            jobs=self._jobs,
            plain=self._plain,
            workers=self._crew.names,
            killed=victim.name,
            replacement=replacement.name,
            seconds=self._seconds,
        ).figures()

    # -- the acts ----------------------------------------------------------------------------------

    async def _set_the_stage(self) -> None:
        self._teller.act(
            "A server, three queues, and jobs",
            "A queue is a row of settings; a job is a row that waits in it.",
        )
        where = self._chancy.names.prefix
        self._teller.say(f"PostgreSQL is there; all tables of the demo are named {where}...")
        await self._chancy.migrate()
        lines, hashes, tokens = self._stage.queues
        for queue, what in (
            (lines, "workers with a disk or a CPU"),
            (hashes, f"those with a disk, at most {hashes.rate_limit} jobs a second"),
            (tokens, "those with a CPU"),
        ):
            await self._chancy.declare(queue)
            self._teller.say(f"queue {queue.name} (executor {queue.executor}), for {what}")
        self._teller.expect(self._stage.queues, len(self._stage.files))
        self._began = anyio.current_time()
        self._pushed = await self._chancy.push_many(self._stage.jobs())
        taken = anyio.current_time() - self._began
        self._teller.say(
            f"{len(self._pushed):,} jobs pushed in {taken:.1f} s, one a file and queue"
        )

    async def _begin(self) -> None:
        self._teller.act(
            "Two workers with different tags",
            "Each is a process. Its tags say which queues it runs: one queue is for both.",
        )
        for name, tags in (("ada", [DISK]), ("bob", [CPU])):
            await self._crew.hire(name, tags)
        for hand in self._crew.living:
            await self._at_work(hand)
        await self._until(
            lambda: any(hand.told["retried"] for hand in self._crew.hands), "a job to be retried"
        )
        self._teller.say(f"a job has failed, on purpose: each {STUMBLE}th does, and is retried")

    async def _change_settings(self) -> None:
        lines, hashes, _ = self._stage.queues
        self._teller.act(
            "Settings that change while workers run",
            "Workers follow the rows of their queues: nothing is restarted.",
        )
        before = await self._pace(lines.name, 2)
        self._shared = lines.options(concurrency=2 * (lines.concurrency or 1))
        await self._chancy.declare(self._shared, upsert=True)
        self._teller.say(
            f"{lines.name}: {self._shared.concurrency} at a time on each worker, not "
            f"{lines.concurrency}; {before:.0f} jobs a second were done so far"
        )
        await self._pause(1)
        self._teller.say(f"{lines.name}: {await self._pace(lines.name, 2):.0f} jobs a second now")
        await self._chancy.pause_queue(hashes.name)
        await self._pause(1)  # what runs comes to its end
        held = self._standing.finished(hashes.name)
        self._teller.say(f"{hashes.name} is paused, with {held:,} jobs done")
        await self._pause(1.5)
        still = self._standing.finished(hashes.name)
        await self._chancy.resume_queue(hashes.name)
        self._teller.say(f"{hashes.name} is resumed, with {still:,} jobs done")

    async def _kill(self) -> Hand:
        name = self._shared.name
        self._teller.act(
            "kill -9",
            f"A worker's lease is good for {LEASE:.0f} s. Once it has run out, any other worker "
            "gives its jobs back.",
        )
        await self._until(
            lambda: all(self._standing.running(h.id, name) for h in self._crew.living),
            "both workers to run the shared queue",
        )
        shares = {hand.name: self._share(hand) for hand in self._crew.living}
        victim = max(self._crew.living, key=self._share)
        await self._crew.kill(victim)
        await self._pause(LOOK)  # for what the database was told before
        told = ", ".join(f"{who} {count:,}" for who, count in shares.items())
        self._teller.say(f"nobody has run more of {name} than {victim.name} ({told})")
        self._teller.say(f"{victim.name}, pid {victim.pid}, is killed", "red")
        held = self._told(lambda g: g.state is State.RUNNING and g.worker == victim.id)
        self._teller.say(f"it held {held}; nobody else knows that it is gone")
        return victim

    async def _rescue(self, victim: Hand) -> None:
        (witness,) = self._crew.living
        since, expired = self._standing.finished(), False
        news = anyio.current_time() + NEWS

        def rescued() -> bool:
            nonlocal news, expired
            if not expired and not victim.alive:
                expired = True
                self._teller.say(f"the lease of {victim.name} has run out")
            elif not expired and anyio.current_time() >= news:
                news += NEWS
                done = self._standing.finished() - since
                self._teller.say(f"{witness.name} goes on: {done:,} jobs since the kill")
            back = self._standing.count(lambda g: g.crashed)
            return witness.told["rescued"] >= back and not self._standing.running(victim.id)

        await self._until(rescued, f"the jobs of {victim.name} to be rescued")
        told = self._told(lambda g: g.crashed)
        self._teller.say(
            f"{witness.name} has declared {victim.name} dead and taken back {told}", "green"
        )

    async def _replace(self, victim: Hand) -> Hand:
        self._teller.act(
            "A replacement",
            "A new worker needs to know nothing of the old one: the same tags are enough.",
        )
        hand = await self._crew.hire("cleo", victim.tags)
        await self._at_work(hand)
        await self._until(
            lambda: not self._standing.count(lambda g: g.crashed and not g.state.finished),
            "the rescued jobs to end",
        )
        took: Counter[str] = Counter()
        for group in self._standing.groups:
            if group.crashed and group.worker:
                took[self._crew.names[group.worker]] += group.count
        shares = ", ".join(f"{name} {count}" for name, count in sorted(took.items()))
        self._teller.say(f"the jobs that came back are done, one at a time: {shares}", "green")
        return hand

    async def _finish(self) -> None:
        self._teller.act(
            "The rest", "Until every job has ended; then the rows are read and checked."
        )
        news = anyio.current_time() + NEWS

        def finished() -> bool:
            nonlocal news
            done = self._standing.finished()
            if anyio.current_time() >= news:
                news += NEWS
                self._teller.say(f"{done:,} of {len(self._pushed):,} jobs are done")
            return done >= len(self._pushed)

        await self._until(finished, "all jobs to end")
        self._seconds = anyio.current_time() - self._began
        self._teller.say(f"all {len(self._pushed):,} jobs are done")
        for start in range(0, len(self._pushed), PAGE):
            self._jobs += await self._chancy.get_jobs(self._pushed[start : start + PAGE])

    # -- looking -----------------------------------------------------------------------------------

    async def _look(self) -> None:
        await self._crew.look()
        self._standing = await self._chancy.store.run(standing(self._chancy.names))
        self._teller.show(self._standing, self._crew.hands)

    async def _until(self, true: Callable[[], bool], what: str) -> None:
        """Look until it is so. Raises `ChancyError` when nobody has patience any more."""
        deadline = anyio.current_time() + PATIENCE
        await self._look()
        while not true():
            if anyio.current_time() >= deadline:
                raise ChancyError(f"the demo waited for {PATIENCE:.0f} s in vain for {what}")
            await anyio.sleep(LOOK)
            await self._look()

    async def _pause(self, seconds: float) -> None:
        over = anyio.current_time() + seconds
        await self._until(lambda: anyio.current_time() >= over, "time to pass")

    async def _pace(self, queue: str, seconds: float) -> float:
        """Return how many jobs of a queue are done in a second."""
        before, began = self._standing.finished(queue), anyio.current_time()
        await self._pause(seconds)
        return (self._standing.finished(queue) - before) / (anyio.current_time() - began)

    async def _at_work(self, hand: Hand) -> None:
        """Wait until a worker runs all that its tags match, and say what this is."""
        queues = {q.name for q in self._stage.queues if q.tags & set(hand.tags)}
        await self._until(
            lambda: hand.alive and queues <= hand.queues, f"worker {hand.name} to get to work"
        )
        runs = ", ".join(sorted(queues))
        self._teller.say(f"{hand.name} works, pid {hand.pid}, {', '.join(hand.tags)}: runs {runs}")

    def _share(self, hand: Hand) -> int:
        """Return how much of the shared queue a worker has done, and does."""
        name = self._shared.name
        return self._standing.finished(name, hand.id) + self._standing.running(hand.id, name)

    def _told(self, which: Callable[[Group], bool]) -> str:
        """Say how many jobs there are of this kind, and of which queues."""
        count: Counter[str] = Counter()
        for group in filter(which, self._standing.groups):
            count[group.queue] += group.count
        parts = ", ".join(f"{number} of {queue}" for queue, number in sorted(count.items()))
        return f"{count.total()} jobs ({parts})"

    async def _compare(self, done: anyio.Event) -> None:
        """Do the same in a plain loop meanwhile: there is time, and a CPU less in use."""
        self._plain = await to_thread.run_sync(plain_loop, self._stage.files)
        done.set()
