"""One scenario: a database with workers under attack, what is pushed to it, and its judgement."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from chancy import Chancy, Job, Queue
from chancy_core.job import Reference
from tests.faults import history, judge, transitions
from tests.faults.armada import Armada, Member
from tests.faults.history import History
from tests.faults.sizes import figure
from tests.fleet import until


class Scenario:
    """What every scenario does: push, attack by `armada`, wait until all has ended, be judged.

    *direct* is the way to the database that nobody attacks: by it the harness pushes and looks.
    """

    def __init__(self, name: str, direct: str, armada: Armada, **known: Any) -> None:
        self.name = name
        self.direct = direct
        self.armada = armada
        self.record = armada.record
        self.known = known
        self.chancy = Chancy(direct, notifications=True)
        self._labels = (f"{name}-{n}" for n in count())
        self.began = time.monotonic()

    def jobs(self, func: str, number: int, **kwargs: Any) -> list[Job]:
        """So many jobs of `tests.faults.member`, each with a label of its own."""
        queue = kwargs.pop("queue", "q")
        options = kwargs.pop("options", {})
        to = str(self.record.path)
        return [
            Job(
                f"faults.{func}",
                kwargs={"to": to, "label": next(self._labels), **kwargs},
                queue=queue,
                **options,
            )
            for _ in range(number)
        ]

    def push(self, jobs: Sequence[Job]) -> list[Reference]:
        """Push, and record what was acknowledged."""
        labels = [job.kwargs["label"] for job in jobs]
        self.record.say("pushing", labels=labels)
        references = self.chancy.sync_push_many(jobs)
        for reference, label in zip(references, labels, strict=True):
            self.record.say("acked", job=reference.id, label=label)
        return references

    def rows(self, question: str, **asked: Any) -> list[tuple[Any, ...]]:
        """What the database answers."""
        with psycopg.connect(self.direct, autocommit=True) as conn:
            return conn.execute(question, asked).fetchall()

    def push_and_roll_back(self, job: Job) -> None:
        """Push one in a transaction that is rolled back: it must never run."""
        label = job.kwargs["label"]
        self.record.say("pushing", label=label)
        self.record.say("rolled_back", label=label)
        with psycopg.connect(self.direct) as conn:
            self.chancy.push_ex(conn, job)
            conn.rollback()

    def try_to_push(self, job: Job) -> bool:
        """Push one to a server that may fail; record, and answer, whether it was acknowledged."""
        label = job.kwargs["label"]
        self.record.say("pushing", label=label)
        try:
            reference = self.chancy.sync_push(job)
        except psycopg.OperationalError as exc:
            self.record.say("in_doubt", label=label, why=str(exc))
            return False
        self.record.say("acked", job=reference.id, label=label)
        return True

    def man(self, number: int, **options: Any) -> list[Member]:
        """Start so many workers; return when all are at work."""
        started = self.armada.start(number, **options)
        names = {member.name for member in started}
        until(lambda: names <= self.workers(), 30, f"workers {names}")
        return started

    def workers(self) -> set[str]:
        """The names of the workers that are on the list, and are not known to be dead."""
        return {name for (name,) in self.rows("SELECT name FROM chancy_workers WHERE NOT dead")}

    def left(self) -> int:
        """How many jobs have not ended."""
        return int(self.rows("SELECT count(*) FROM chancy_jobs")[0][0])

    def drained(self, within: float, *, workers: int = 0) -> float:
        """Return once all have ended; fail if they have not within so many seconds.

        Meanwhile a supervisor keeps up the number of *workers*.
        """
        began = time.monotonic()
        while self.left():
            self.armada.replace(workers)
            if time.monotonic() - began > within:
                raise AssertionError(f"not all jobs end within {within} s: {self._why()}")
            time.sleep(0.05)
        return time.monotonic() - began

    def _why(self) -> str:
        """What is left, and who could do it."""
        with psycopg.connect(self.direct, autocommit=True) as conn:
            jobs = conn.execute(
                "SELECT queue, state, func, count(*), max(crashes), min(scheduled_at - now())"
                " FROM chancy_jobs GROUP BY 1, 2, 3"
            ).fetchall()
            workers = conn.execute(
                "SELECT name, dead, expires_at - now() FROM chancy_workers ORDER BY 3 DESC LIMIT 5"
            ).fetchall()
        return f"left {jobs}, on the list {workers}, alive {list(self.armada.members.values())}"

    def history(self) -> History:
        return history.read(self.record, self.direct, **self.known)

    def judged(self) -> History:
        """Stop all, hold what happened against the laws, and note how much it was."""
        self.armada.stop()
        judge.at_rest(self.direct)
        found = self.history()
        judge.upheld(found)
        figure(
            f"{self.name}: jobs, begun, seconds",
            [
                len(found.of_kind("acked")),
                len(found.of_kind("begin")),
                round(time.monotonic() - self.began, 1),
            ],
        )
        return found


@contextmanager
def scenario(
    name: str,
    dsn: str,
    folder: Path,
    *,
    queues: Sequence[Queue] = (Queue("q", executor="async", concurrency=20, polling_interval=1),),
    direct: str | None = None,
    known: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[Scenario]:
    """A scenario on the database at *dsn*, which has our tables.

    *options* are those of `Armada`; *known* is what the judge has to know, as in `History`.
    """
    direct = direct or dsn
    transitions.install(direct)
    with Armada(dsn, folder, **options) as armada:
        run = Scenario(name, direct, armada, **(known or {}))
        try:
            for queue in queues:
                run.chancy.sync_declare(queue, upsert=True)
            yield run
        finally:
            run.chancy.sync_close()
