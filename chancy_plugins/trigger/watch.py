"""Values: which table is watched and what is pushed when it changes, as asked for and as stored."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self, TypedDict

from attrs import Attribute, field, frozen

from chancy_core import codec, registry
from chancy_core.errors import ChancyError, InvalidValue
from chancy_core.function import JobFunction
from chancy_core.job import Job
from chancy_core.statement import Row

#: What changes a table.
OPERATIONS = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
#: The most bytes of a name, and the most rows that a job is given.
LONGEST, MOST = 200, 1000
#: The argument of a job that the changed rows are.
ROWS = "rows"


class TriggerNotFound(ChancyError, LookupError):
    """No trigger has this name."""


class TriggerRefused(ChancyError):
    """The table cannot be watched now: the role may not, or the table is in use for too long."""


def _job(given: Any) -> Any:
    return given.template if isinstance(given, JobFunction) else given


def _operations(given: Any) -> Any:
    several = (given,) if isinstance(given, str) else given
    if not isinstance(several, Iterable):
        return given
    asked = [one.upper() if isinstance(one, str) else one for one in several]
    known = tuple(one for one in OPERATIONS if one in asked)
    return known if len(known) == len(set(map(str, asked))) else tuple(asked)


def _columns(given: Any) -> Any:
    return tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else given


def _refused(watch: "Watch", problem: str) -> InvalidValue:
    return InvalidValue(f"trigger {codec.shown(watch.name)}: {problem}")


class Settings(TypedDict, total=False):
    """What `Trigger.declare` takes besides a name, a table and a job."""

    on: str | Iterable[str]
    schema: str
    rows: int
    columns: Iterable[str] | None
    when: Mapping[str, Any] | None
    empty: bool
    wake: str
    on_error: str
    enabled: bool


@frozen(kw_only=True)
class Watch:
    """What is pushed when a table changes. Raises `InvalidValue` for what makes no sense."""

    name: str = field()
    table: str = field()
    schema: str = field(default="public")
    on: tuple[str, ...] = field(default=OPERATIONS[:3], converter=_operations)
    job: Job = field(converter=_job)
    rows: int = field(default=0)
    columns: tuple[str, ...] | None = field(default=None, converter=_columns)
    when: Mapping[str, Any] | None = field(default=None)
    empty: bool = field(default=False)
    wake: str = field(default="poll")
    on_error: str = field(default="raise")
    enabled: bool = field(default=True)

    @name.validator
    @table.validator
    @schema.validator
    def _is_name(self, attribute: "Attribute[str]", given: str) -> None:
        problem = codec.unstorable(given) if isinstance(given, str) else "it must be a text"
        most = LONGEST if attribute.name == "name" else 63  # bytes of PostgreSQL's names
        if problem is None and not 1 <= len(given.encode()) <= most:
            problem = f"it must have 1 to {most} bytes"
        if problem is not None:
            raise _refused(self, f"{attribute.name} is {codec.shown(given)}: {problem}")

    @on.validator
    def _are_operations(self, _: "Attribute[Any]", given: tuple[str, ...]) -> None:
        if not isinstance(given, tuple) or not given or not set(given) <= set(OPERATIONS):
            raise _refused(
                self, f"on must be some of {', '.join(OPERATIONS)}, not {codec.shown(given)}"
            )

    @rows.validator
    def _are_so_many(self, _: "Attribute[int]", given: int) -> None:
        if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= MOST:
            raise _refused(self, f"rows must be 0 to {MOST:,}, not {codec.shown(given)}")

    @columns.validator
    def _are_columns(self, _: "Attribute[Any]", given: tuple[str, ...] | None) -> None:
        texts = isinstance(given, tuple) and all(isinstance(one, str) for one in given)
        if given is not None and (not texts or not given):
            raise _refused(self, f"columns must be names of columns, not {codec.shown(given)}")
        if given is not None and not self.rows:
            raise _refused(self, "columns are those of the rows that its job is given: say rows=…")

    @when.validator
    def _is_condition(self, _: "Attribute[Any]", given: Mapping[str, Any] | None) -> None:
        if given is None:
            return
        if not isinstance(given, Mapping) or not given:
            raise _refused(
                self, f"when must say which columns have which values, not {codec.shown(given)}"
            )
        if "TRUNCATE" in self.on:
            raise _refused(self, "TRUNCATE shows no rows, so it goes with no `when`")
        codec.encode(given, f"when of trigger {self.name!r}")

    @empty.validator
    @enabled.validator
    def _is_bool(self, attribute: "Attribute[bool]", given: bool) -> None:
        if not isinstance(given, bool):
            raise _refused(self, f"{attribute.name} is a bool, not {codec.shown(given)}")

    @wake.validator
    @on_error.validator
    def _is_one_of(self, attribute: "Attribute[str]", given: str) -> None:
        known = ("poll", "notify") if attribute.name == "wake" else ("raise", "skip")
        if given not in known:
            raise _refused(
                self,
                f"{attribute.name} must be {known[0]!r} or {known[1]!r}, not {codec.shown(given)}",
            )

    @job.validator
    def _is_job(self, _: "Attribute[Job]", given: Job) -> None:
        if not isinstance(given, Job):
            raise _refused(
                self, f"job must be a Job, such as my_job.bind(), not {codec.shown(given)}"
            )
        if given.scheduled_at is not None:
            raise _refused(self, "its job runs when the table has changed: no scheduled_at")

    @property
    def sample(self) -> Job:
        """A job as it is pushed, to see whether it can be."""
        if not self.rows:
            return self.job
        if ROWS in self.job.kwargs:
            raise _refused(self, f"the changed rows are the argument {ROWS!r} of its job")
        return self.job.with_kwargs(**self.job.kwargs, **{ROWS: []})


@frozen(kw_only=True)
class Listed:
    """A trigger as it is stored."""

    name: str
    #: Where the table is by now, or was.
    schema: str
    table: str
    on: tuple[str, ...]
    #: None if it makes no sense.
    job: Job | None
    rows: int
    columns: tuple[str, ...] | None
    when: Mapping[str, Any] | None
    empty: bool
    wake: str
    on_error: str
    enabled: bool
    created_at: datetime
    #: What is wrong with it: its table is gone, say.
    problem: str | None

    @classmethod
    def read(cls, rows: Sequence[Row]) -> "list[Self]":
        """Read rows."""
        return [cls._of(row) for row in rows]

    @classmethod
    def _of(cls, row: Row) -> Self:
        name, schema, table, on, packed, most, columns, when, empty, told, skips = row[:11]
        enabled, made, has, fires = row[11:]
        job, problem = None, _missing(has, fires, on, columns, when)
        try:
            job = Job.unpack(codec.as_object(packed))
            given = {**job.kwargs, ROWS: []} if most else job.kwargs
            registry.check_call(job.with_kwargs(**given))
        except (ValueError, TypeError, LookupError, AttributeError) as exc:
            problem = problem or f"its job makes no sense: {codec.said(exc)}"
        return cls(
            name=name,
            schema=schema,
            table=table,
            on=tuple(on),
            job=job,
            rows=most,
            columns=None if columns is None else tuple(columns),
            when=None if when is None else codec.as_object(when),
            empty=empty,
            wake="notify" if told else "poll",
            on_error="skip" if skips else "raise",
            enabled=enabled,
            created_at=made.astimezone(UTC),
            problem=problem,
        )


def _missing(
    has: Sequence[str] | None,
    fires: Sequence[str],
    on: Sequence[str],
    columns: Sequence[str] | None,
    when: str | None,
) -> str | None:
    """Say what a trigger needs that is not there any more; None if nothing is missing."""
    if has is None:
        return "its table is gone"
    if lost := sorted(set(on) - set(fires)):
        return f"what watches for {', '.join(lost)} is gone from its table, or switched off"
    asked = {*(columns or ()), *(() if when is None else codec.as_object(when))}
    if unknown := sorted(asked - set(has)):
        return f"its table has no column {', '.join(map(repr, unknown))}"
    return None
