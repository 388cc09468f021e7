"""Values: the days of the history, what becomes of each by a policy, and what has gone."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Self
from uuid import UUID

from attrs import field, frozen

from chancy_core import codec
from chancy_core.statement import Row
from chancy_plugins.retention.policy import RetentionPolicy

DAY = 86_400.0


@frozen(kw_only=True)
class Walk:
    """A look at all rows of a day, one after the other: those go whose time is over.

    What is kept for less than a day goes by its own time. All else goes with its day, once what is
    kept for *step* seconds from the end of the day may go: so each row is looked at once a step.
    """

    day: date
    #: 0 where only what is kept for less than a day may go.
    step: float
    #: Whether the day is looked at again and again, since more of it may go with each hour.
    again: bool


@frozen(kw_only=True)
class Day:
    """A partition of the history: those jobs that finished on one UTC day."""

    day: date
    table: str
    oid: int
    #: Seconds since its end, by the database's clock; less than 0 until then.
    ended: float
    #: About how many rows it has, as far as the server knows.
    rows: int
    bytes: int
    #: Whether it is being taken out of the history: nobody finds its jobs any more.
    leaving: bool
    #: Whether that is our doing.
    ours: bool
    #: By which rules it was looked at last, up to which step, and whether to the end.
    rules: str | None
    step: float
    done: bool

    @classmethod
    def read(cls, rows: Sequence[Row]) -> list[Self]:
        """Read rows."""
        names = ("day", "table", "oid", "ended", "rows", "bytes", "leaving", "ours", "rules")
        return [cls(**dict(zip((*names, "step", "done"), row, strict=True))) for row in rows]

    def goes(self, policy: RetentionPolicy) -> bool:
        """Whether all of its jobs may go, so that it is dropped as a whole.

        Never today's nor yesterday's: what ends at midnight is written there.
        """
        longest = policy.longest
        return longest is not None and self.ended >= max(longest, DAY)

    def goes_in(self, policy: RetentionPolicy) -> float | None:
        """Return in how many seconds it is dropped, 0 if it may be; None if it never is."""
        longest = policy.longest
        return None if longest is None else max(0.0, max(longest, DAY) - self.ended)

    def walk(self, policy: RetentionPolicy, rules: str) -> Walk | None:
        """Return what is to be looked for in it, if it is not dropped; None if that is nothing."""
        over = [step for step in policy.steps if step <= self.ended]
        again = any(step < DAY and self.ended < step <= self.ended + DAY for step in policy.steps)
        step = max(over, default=0.0)
        looked = self.rules == rules and self.done and self.step >= step
        if not again and (looked or not over):
            return None
        return Walk(day=self.day, step=step, again=again)


@frozen(kw_only=True)
class Standing:
    """Who we are to the tables, and what was told last."""

    #: By the database's clock.
    now: datetime
    #: Whether our role owns the history, and so may remove what is in it.
    owner: bool
    installation: UUID
    #: The rules that somebody has told last, as JSON data; None if nobody has.
    told: Any
    told_by: str | None

    @classmethod
    def read(cls, rows: Sequence[Row]) -> Self:
        """Read the row."""
        now, owner, installation, told, told_by = rows[0]
        return cls(
            now=now.astimezone(UTC),
            owner=owner,
            installation=installation,
            told=None if told is None else codec.decode(told),
            told_by=told_by,
        )


@frozen
class Removed:
    """What one run has removed."""

    #: The days that were dropped.
    days: tuple[date, ...] = ()
    #: About how many jobs went with them, as far as the server knew.
    dropped: int = 0
    #: How many further jobs were deleted.
    deleted: int = 0
    #: What could not be done, and why.
    problems: tuple[str, ...] = ()
    #: Whether there is more to do, which is done another time.
    more: bool = False
    seconds: float = field(default=0.0, eq=False)

    def __bool__(self) -> bool:
        return bool(self.days or self.deleted)

    def __str__(self) -> str:
        named = ", ".join(map(str, self.days[:5])) + (", …" if len(self.days) > 5 else "")
        days = f"{len(self.days):,} days ({named}; about {self.dropped:,} jobs)"
        parts = [days] if self.days else []
        parts += [f"{self.deleted:,} jobs"] if self.deleted or not parts else []
        return f"{' and '.join(parts)} in {self.seconds:.1f} s"
