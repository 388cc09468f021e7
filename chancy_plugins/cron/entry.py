"""Values: what is to be run when, how that is stored, and each time that it was run."""

import hashlib
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

from attrs import Attribute, field, frozen

from chancy_core import codec, registry
from chancy_core.errors import ChancyError, InvalidValue
from chancy_core.job import Job
from chancy_core.statement import Row
from chancy_plugins.cron.missed import RUN_ONCE, allowance
from chancy_plugins.cron.schedule import Schedule

#: The most bytes of a key, and the most seconds of jitter: a day.
LONGEST_KEY, MOST_JITTER = 200, 86_400.0
#: Under which name the meta of a job has which run of which entry it is.
META = "cron"


class CronNotFound(ChancyError, LookupError):
    """No entry has this key."""


def _check_key(_: Any, __: "Attribute[str]", key: str) -> None:
    problem = codec.unstorable(key) if isinstance(key, str) else "it must be a text"
    if problem is None and not 1 <= len(key.encode()) <= LONGEST_KEY:
        problem = f"it must have 1 to {LONGEST_KEY} bytes"
    if problem is not None:
        raise InvalidValue(f"the key of a cron entry, {codec.shown(key)}: {problem}")


def _check_job(entry: "Entry", _: "Attribute[Job]", job: Job) -> None:
    if not isinstance(job, Job):
        raise InvalidValue(
            f"cron entry {entry.key!r}: job must be a Job, such as my_job.bind(), "
            f"not {codec.shown(job)}"
        )
    if job.scheduled_at is not None:
        raise InvalidValue(
            f"cron entry {entry.key!r}: the schedule says when its jobs run; leave scheduled_at out"
        )


def _check_missed(_: Any, __: "Attribute[str]", missed: str) -> None:
    allowance(missed)


def _check_jitter(_: Any, __: "Attribute[float]", jitter: float) -> None:
    number = isinstance(jitter, int | float) and not isinstance(jitter, bool)
    if not number or not 0 <= jitter <= MOST_JITTER:
        raise InvalidValue(
            f"jitter must be 0 to {MOST_JITTER:,.0f} seconds, not {codec.shown(jitter)}"
        )


@frozen(kw_only=True)
class Entry:
    """What is to be run, and when. Raises `InvalidValue` for what makes no sense."""

    job: Job = field(validator=_check_job)
    key: str = field(validator=_check_key)
    schedule: Schedule
    #: What becomes of runs that nobody could start in time.
    missed: str = field(default=RUN_ONCE, validator=_check_missed)
    #: By how many seconds at most a run is put off.
    jitter: float = field(default=0.0, validator=_check_jitter)

    def job_of(self, tick: datetime) -> Job:
        """Return the job of one tick, which says in its meta of which.

        One without a unique key of its own is given one that no other tick has.
        """
        at = tick.astimezone(UTC).isoformat()
        job = self.job.with_meta({**self.job.meta, META: {"key": self.key, "tick": at}})
        if job.unique_key is None:
            job = job.with_unique_key(f"{META}:{self.key}:{at}")
        if self.jitter:
            job = job.with_scheduled_at(tick + self._put_off(at))
        return job

    def _put_off(self, tick: str) -> timedelta:
        """Return by how much the job of a tick is put off: always the same for the same tick."""
        drawn = hashlib.blake2b(f"{self.key} {tick}".encode(), digest_size=8).digest()
        return timedelta(seconds=self.jitter * math.ldexp(int.from_bytes(drawn), -64))

    def job_now(self, now: datetime) -> Job:
        """Return the job of a run that somebody has asked for."""
        about = {"key": self.key, "tick": now.astimezone(UTC).isoformat(), "triggered": True}
        return self.job.with_meta({**self.job.meta, META: about})


@frozen(kw_only=True)
class Listed:
    """An entry as it is stored."""

    key: str
    expression: str
    tz: str
    missed: str
    jitter: float
    paused: bool
    #: Whether code declared it, by `@cron`.
    in_code: bool
    #: The next tick; None if there is none, or nobody has looked for it yet.
    next_at: datetime | None
    #: Seconds until then, by the database's clock.
    next_in: float | None
    updated_at: datetime
    #: A number that each change raises.
    revision: int
    #: What it means; None if it makes no sense.
    entry: Entry | None
    #: Why it makes no sense.
    problem: str | None

    @classmethod
    def read(cls, row: Row) -> Self:
        """Read a row. One that makes no sense is broken, and is a value all the same."""
        key, expression, tz, job, missed, jitter, paused, in_code, at, next_in, updated, rev = row
        entry, problem = None, None
        try:
            made = Job.unpack(codec.as_object(job))
            registry.check_call(made)
            schedule = Schedule(expression, tz)
            entry = Entry(key=key, job=made, schedule=schedule, missed=missed, jitter=jitter)
        except (ValueError, TypeError, LookupError, AttributeError) as exc:
            problem = codec.said(exc)
        return cls(
            key=key,
            expression=expression,
            tz=tz,
            missed=missed,
            jitter=jitter,
            paused=paused,
            in_code=in_code,
            next_at=None if at is None else at.astimezone(UTC),
            next_in=next_in,
            updated_at=updated.astimezone(UTC),
            revision=rev,
            entry=entry,
            problem=problem,
        )

    def sound(self) -> Entry:
        """Return what it means. Raises `InvalidValue` if it makes no sense."""
        if self.entry is None:
            raise InvalidValue(f"cron entry {self.key!r} makes no sense: {self.problem}")
        return self.entry


@frozen(kw_only=True)
class Fire:
    """One run of an entry."""

    key: str
    #: The time that it is for; None if somebody has asked for it.
    tick: datetime | None
    #: When it was pushed.
    fired_at: datetime
    #: The job; None if nothing was pushed, since a live job held its unique key.
    job: UUID | None

    @classmethod
    def read(cls, rows: Sequence[Row]) -> "list[Fire]":
        """Read rows."""
        return [
            cls(
                key=key,
                tick=None if tick is None else tick.astimezone(UTC),
                fired_at=fired_at.astimezone(UTC),
                job=job,
            )
            for key, tick, fired_at, job in rows
        ]
