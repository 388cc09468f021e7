"""The steps of applications and of operators."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any
from uuid import UUID

from attrs import frozen
from hypothesis import strategies as st
from hypothesis.stateful import MultipleResults, multiple, precondition, rule

from chancy import Job, Queue, Reference
from chancy_core.errors import QueueNotFound
from chancy_core.filter import Answer
from chancy_core.store import pushing, requests, statements
from tests.faults.machine.rows import ModelQueue
from tests.faults.machine.stage import DOUBT, JOBS, QUEUES, Stage
from tests.postgres.stores import NAMES

#: So many jobs in so many seconds, of which a microsecond counts none in part.
LIMITS = st.none() | st.sampled_from([(1, 1), (5, 10), (20, 60)])


@frozen
class Ask:
    """A job, with its time as seconds from now."""

    queue: str
    priority: int
    delay: float | None
    unique_key: str | None
    max_attempts: int
    at_most_once: bool
    exclusive: bool


ASKS = st.builds(
    Ask,
    queue=QUEUES,
    priority=st.sampled_from([0, 0, 0, 5, -1]),
    delay=st.sampled_from([None, None, None, -60.0, 1.0, 3600.0]),
    unique_key=st.sampled_from([None, None, None, "x", "y"]),
    max_attempts=st.integers(1, 3),
    at_most_once=st.sampled_from([False, False, True]),
    exclusive=st.booleans(),
)


class Asking(Stage):
    """What applications and operators do."""

    @rule(target=JOBS, asks=st.lists(ASKS, min_size=1, max_size=4))
    def push(self, asks: list[Ask]) -> MultipleResults[UUID]:
        jobs = [self._job(ask) for ask in asks]
        stored: dict[UUID, Job] = {}

        def store(names: Any, batch: Mapping[UUID, Job]) -> requests.Request[AbstractSet[UUID]]:
            stored.update(batch)
            self.laws.pushed |= batch.keys()
            return (yield from pushing.store_surely(names, batch))

        references = self.rig.ask(pushing.push(NAMES, jobs, store))
        assert len(references) == len(jobs)
        self._check_keys(jobs, references)
        for job, reference in zip(jobs, references, strict=True):
            if reference.new:
                assert stored[reference.id] == job
                self.model.push(reference.id, job)
        for job, reference in zip(jobs, references, strict=True):
            holder = self.model.holder(job.unique_key)
            assert reference.new or (holder and holder.id == reference.id), reference
        self.laws.acknowledged |= {reference.id for reference in references}
        self.count("pushed", len(jobs))
        return multiple(*(reference.id for reference in references if reference.new))

    def _job(self, ask: Ask) -> Job:
        due = None if ask.delay is None else self.model.now + timedelta(seconds=ask.delay)
        return Job(
            "f",
            queue=ask.queue,
            priority=ask.priority,
            scheduled_at=due,
            unique_key=ask.unique_key,
            max_attempts=1 if ask.at_most_once else ask.max_attempts,
            at_most_once=ask.at_most_once,
            exclusive=ask.exclusive,
        )

    def _check_keys(self, jobs: list[Job], references: list[Reference]) -> None:
        """I9: of those with a key one is new, or none where it was held."""
        for key in {job.unique_key for job in jobs}:
            new = [r for job, r in zip(jobs, references, strict=True) if job.unique_key == key]
            count = sum(reference.new for reference in new)
            if key is None:
                assert count == len(new)
            else:
                assert count == (0 if self.model.holder(key) else 1), f"I9: {count} of {key!r}"

    # -- jobs that are there -----------------------------------------------------------------------

    @rule(ids=st.lists(JOBS, min_size=1, max_size=3))
    def cancel(self, ids: list[UUID]) -> None:
        answers, done = self.tried(
            lambda: self.rig.ask(requests.cancel(NAMES, ids)), lambda: self.model.cancel(ids)
        )
        self._check(answers, done)

    @rule(ids=st.lists(JOBS, min_size=1, max_size=3))
    def retry(self, ids: list[UUID]) -> None:
        answers, back = self.tried(
            lambda: self.rig.ask(requests.retry(NAMES, ids)), lambda: self.model.retry(ids)
        )
        for id_ in back or ():
            self.laws.brought_back.add(id_)
            self.laws.begun.pop(id_, None)
        self._check(answers, dict.fromkeys(back or (), "pending"))

    @rule(ids=st.lists(JOBS, min_size=1, max_size=2))
    def purge(self, ids: list[UUID]) -> None:
        answers, gone = self.tried(
            lambda: self.rig.ask(requests.purge(NAMES, ids)), lambda: self.model.purge(ids)
        )
        self.laws.deleted |= gone or set()
        self._check(answers, dict.fromkeys(gone or (), "purged"))

    def _check(self, answers: list[Answer], done: dict[UUID, str] | None) -> None:
        if answers is not DOUBT:
            assert {answer.id: answer.what for answer in answers if answer.done} == done
            self.count("answered")

    # -- queues ------------------------------------------------------------------------------------

    @rule(name=QUEUES, limit=LIMITS, upsert=st.booleans())
    def declare(self, name: str, limit: tuple[int, int] | None, upsert: bool) -> None:
        rate, window = limit or (None, None)
        asked = Queue(name, executor="async", rate_limit=rate, rate_limit_window=window)

        def effect() -> tuple[str, bool]:
            row = self.model.queues.get(name)
            if row is None:
                row = self.model.queues[name] = ModelQueue(limit=limit)
            elif upsert:
                row.limit = limit
            active = row.state == "active" or (row.resume_at or self.model.now) <= self.model.now
            shown = "active" if row.resume_at and active else row.state
            return shown, row.limit == (limit if upsert else row.limit)

        def ask() -> tuple[str, bool]:
            stored = self.rig.ask(requests.declare(NAMES, asked, upsert=upsert))
            return str(stored.state), not upsert or stored.rate_limit == rate

        self.surely(ask, effect)

    @rule(name=QUEUES, seconds=st.sampled_from([None, 5.0, 100.0]), instant=st.booleans())
    def pause(self, name: str, seconds: float | None, instant: bool) -> None:
        wait = None if seconds is None else timedelta(seconds=seconds)
        until = None if wait is None else self.model.now + wait
        resume = until if instant else wait

        def effect() -> None:
            if name in self.model.queues:
                row = self.model.queues[name]
                row.state, row.resume_at = "paused", until

        self._about(name, requests.pause_queue(NAMES, name, resume), effect)

    @rule(name=QUEUES)
    def resume(self, name: str) -> None:
        def effect() -> None:
            if name in self.model.queues:
                row = self.model.queues[name]
                row.state, row.resume_at = "active", None

        self._about(name, requests.resume_queue(NAMES, name), effect)

    @precondition(lambda self: len(self.model.queues) > 0)
    @rule(name=QUEUES, purge=st.booleans())
    def delete_queue(self, name: str, purge: bool) -> None:
        def effect() -> int | None:
            if name not in self.model.queues:
                return None
            before = set(self.model.jobs)
            count = self.model.delete_queue(name, purge=purge)
            self.laws.deleted |= before - self.model.jobs.keys()
            self.laws.starts.pop(name, None)
            self.laws.limits.pop(name, None)
            return count

        self._about(name, requests.delete_queue(NAMES, name, purge_jobs=purge), effect)

    def _about(self, name: str, request: requests.Request[Any], effect: Any) -> None:
        there = name in self.model.queues

        def ask() -> Any:
            try:
                return self.rig.ask(request)
            except QueueNotFound:
                assert not there, f"queue {name} is there, and was not found"

        self.surely(ask, effect)

    # -- what is asked of a list -------------------------------------------------------------------

    @rule(name=QUEUES)
    def look_for_work(self, name: str) -> None:
        """What is left to do is known, whatever index it lies in."""
        asked = statements.left_to_do(NAMES, [name], name="nobody", pid=1)

        def effect() -> bool:
            due = (job for job in self.model.jobs.values() if job.queue == name)
            return any(
                job.state == "pending"
                or (job.state == "scheduled" and job.scheduled_at <= self.model.now)
                for job in due
            )

        self.surely(lambda: self.rig.run(asked), effect)
