"""What a job is: `Job` as it is asked for, `QueuedJob` as it is stored."""

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Unpack
from uuid import UUID

from attrs import field, fields, frozen

from chancy_core import codec, versions
from chancy_core.bounds import check_due, check_flag, check_integer, check_text
from chancy_core.errors import AttemptOver, ChancyError, InvalidJob, JobFailed, TimeLimitExceeded
from chancy_core.limit import Limit, LimitKind
from chancy_core.options import JobOptions, Registered, check_options
from chancy_core.progress import PROGRESS, Progress
from chancy_core.reference import Reference
from chancy_core.state import State

__all__ = ["Failure", "Job", "JobOptions", "Limit", "LimitKind", "QueuedJob", "Reference", "State"]


def _tuple(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    if type(limits) is tuple:
        return limits
    try:
        return tuple(limits)
    except TypeError as exc:
        raise InvalidJob(f"limits must be several of Limit, not {codec.shown(limits)}") from exc


@frozen(kw_only=True, slots=False)
class Job:
    """A call of a registered function, as a producer asks for it.

    *func* is the name that the function was registered under and *kwargs* its arguments, which
    must be JSON or structured by the function's annotations. Made best by `JobFunction.bind`.

    Raises `InvalidJob` when a value cannot be.
    """

    func: str = field(kw_only=False)
    kwargs: Mapping[str, Any] = field(factory=dict, repr=codec.veiled)
    queue: str = "default"
    #: Higher runs first, within its queue; -32,768 to 32,767.
    priority: int = 0
    max_attempts: int = 1
    #: Not before this instant; an aware datetime.
    scheduled_at: datetime | None = None
    limits: tuple[Limit, ...] = field(default=(), converter=_tuple)
    #: No two live jobs have the same; at most 512 bytes.
    unique_key: str | None = None
    #: Whatever travels with the job: for plugins, and for people.
    meta: Mapping[str, Any] = field(factory=dict, repr=codec.veiled)
    #: Once begun, never again, whatever happens to its worker: then it is `lost`.
    at_most_once: bool = False
    #: End the attempt while its lease is still sure: before another worker could begin the next.
    exclusive: bool = False
    #: Whether what the function returns is stored.
    keep_result: bool = True
    #: Which version of its function the arguments are for (`@job(version=...)`).
    version: int = 1

    def __attrs_post_init__(self) -> None:
        versions.take(self)
        check_text(self, "func", 1000)
        check_text(self, "queue", 400)
        if self.unique_key is not None:
            check_text(self, "unique_key", 512)
        for name, least in (("priority", -32_768), ("max_attempts", 1), ("version", 1)):
            check_integer(self, name, least)
        for name in ("at_most_once", "exclusive", "keep_result"):
            check_flag(self, name)
        if self.at_most_once and self.max_attempts != 1:
            raise InvalidJob(
                f"job {self.func!r}: at_most_once leaves no second attempt: max_attempts must be "
                f"1, not {self.max_attempts}"
            )
        for name, given in (("kwargs", self.kwargs), ("meta", self.meta)):
            if not isinstance(given, Mapping):
                raise InvalidJob(f"job {self.func!r}: {name} must be a mapping, not {type(given)}")
        for limit in self.limits:
            if not isinstance(limit, Limit):
                raise InvalidJob(
                    f"job {self.func!r}: limits must be of Limit, not {codec.shown(limit)}"
                )
        if self.scheduled_at is not None:
            check_due(self, self.scheduled_at)

    @classmethod
    def from_func(cls, func: Registered, **options: Unpack[JobOptions]) -> "Job":
        """Return a job of *func*, with the options of its decorator and then these.

        Raises `InvalidJob` for what was not decorated with `@job`.
        """
        template = getattr(func, "template", None)
        if isinstance(template, Job):
            return template.options(**options)
        raise InvalidJob(
            f"{codec.shown(func)} is no job: decorate it with @job, or name what the worker has "
            "registered: Job('acme.mail.send')"
        )

    def options(self, **changes: Unpack[JobOptions]) -> "Job":
        """Return this job with other settings, such as `queue="mail"` or `priority=5`.

        Of a job that is stored already: what was asked for then, to be pushed once more.
        """
        check_options(f"job {self.func!r}", changes)
        return self._asked(**changes)

    def _asked(self, **changes: Any) -> "Job":
        return Job(**{name: getattr(self, name) for name in _FIELDS} | changes)

    def with_kwargs(self, /, **kwargs: Any) -> "Job":
        """Return this job with these arguments, and no others."""
        return self._asked(kwargs=kwargs)

    def with_queue(self, queue: str) -> "Job":
        """Return this job for another queue."""
        return self._asked(queue=queue)

    def with_priority(self, priority: int) -> "Job":
        """Return this job with another priority; higher runs first."""
        return self._asked(priority=priority)

    def with_max_attempts(self, max_attempts: int) -> "Job":
        """Return this job with another number of attempts, the first included."""
        return self._asked(max_attempts=max_attempts)

    def with_scheduled_at(self, scheduled_at: datetime | None) -> "Job":
        """Return this job due at another, aware, time; None is at once."""
        return self._asked(scheduled_at=scheduled_at)

    def with_limits(self, limits: Iterable[Limit]) -> "Job":
        """Return this job with these limits, and no others."""
        return self._asked(limits=limits)

    def with_unique_key(self, unique_key: str | None) -> "Job":
        """Return this job under another unique key, or none."""
        return self._asked(unique_key=unique_key)

    def with_meta(self, meta: Mapping[str, Any]) -> "Job":
        """Return this job with this meta, and no other."""
        return self._asked(meta=meta)

    def pack(self) -> dict[str, Any]:
        """Return this job as plain JSON data, to be kept somewhere and unpacked later.

        Of a stored job, what was asked for. Raises `InvalidValue` for arguments or a meta that
        have no JSON form.
        """
        packed = {name: getattr(self, name) for name in _FIELDS if name != "version"}
        packed["meta"] = versions.written(self)
        for name in ("kwargs", "meta"):
            text = codec.encode(packed[name], f"{name} of {self.func}")
            packed[name] = codec.decode(text)
        packed["limits"] = [[limit.kind.value, limit.value] for limit in self.limits]
        if self.scheduled_at is not None:
            packed["scheduled_at"] = self.scheduled_at.isoformat()
        return packed

    @staticmethod
    def unpack(packed: Mapping[str, Any]) -> "Job":
        """Return the job that `pack` wrote; what is missing has its default.

        Raises `InvalidJob` when it makes no sense, or has fields that this version does not know.
        """
        if not isinstance(packed, Mapping) or "func" not in packed or set(packed) - set(_FIELDS):
            shown = codec.veiled(packed)
            raise InvalidJob(f"{shown:.200} is no packed job, which has {', '.join(_FIELDS)}")
        values = dict(packed)
        try:
            values["limits"] = [Limit(kind, value) for kind, value in values.get("limits", ())]
            if values.get("scheduled_at") is not None:
                values["scheduled_at"] = datetime.fromisoformat(values["scheduled_at"])
        except (TypeError, ValueError) as exc:
            raise InvalidJob(f"the packed job of {codec.shown(packed['func'])}: {exc}") from exc
        return Job(**values)

    def limit(self, kind: LimitKind) -> float | None:
        """Return the first limit of this kind, or None."""
        if not self.limits:  # as of nearly all
            return None
        return next((limit.value for limit in self.limits if limit.kind is kind), None)


_FIELDS = tuple(attribute.name for attribute in fields(Job))


@frozen(kw_only=True)
class Failure:
    """How one attempt went wrong, as it is kept with the job."""

    #: Which attempt, from 1; 0 where none was counted.
    attempt: int
    #: `error`, `timeout`, `memory`, `child-died`, `unsupported`, `unknown-function`, `unreadable`
    kind: str
    #: The exception's class, and its text.
    type: str
    message: str
    traceback: str = ""


@frozen(kw_only=True, slots=False)
class QueuedJob(Job):
    """A job as the database has it: live, running here, or finished."""

    id: UUID
    state: State
    #: A running job that was injected into its function may change it: it is saved at the end.
    meta: dict[str, Any] = field(factory=dict, repr=codec.veiled)
    #: How often it was claimed; never less. `(id, claims)` names one execution.
    claims: int = 0
    #: How many attempts have an outcome of the job's own making.
    attempts: int = 0
    #: How often a worker died while it ran the job.
    crashes: int = 0
    #: Who holds it, and by which lease: an outcome counts only with the lease that is current.
    worker: UUID | None = None
    lease_id: UUID | None = None
    #: Whether somebody asked for the running attempt to be ended.
    cancelling: bool = False
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    errors: tuple[Failure, ...] = ()
    #: What the function returned, as plain JSON data.
    returned: Any = field(default=None, repr=codec.veiled)
    #: When its time is up, by `time.monotonic()` of the process that runs it.
    deadline: float | None = field(default=None, eq=False, repr=False)
    #: What plugins of the worker tell those beside the function, by their names; never stored.
    carried: Mapping[str, Any] | None = field(default=None, eq=False, repr=False)
    # What a call sets in the job that it injects: whether it is over, who hears of its progress.
    _over: ClassVar[bool] = False
    _heard: ClassVar[Any] = None

    def __attrs_post_init__(self) -> None:
        """A row is taken as it is: what is in it was checked when it was pushed."""

    def __getstate__(self) -> dict[str, Any]:  # a copy elsewhere has nobody to hear of it
        return {name: value for name, value in self.__dict__.items() if name != "_heard"}

    def carry(self, name: str, value: Any) -> None:
        """Let *value*, plain JSON data, be `carried` to where the function of this job runs.

        For plugins, in `chancy_job_context`: what these tell those in `chancy_call_context`, in
        another process as well.
        """
        object.__setattr__(self, "carried", {**(self.carried or {}), name: value})

    @property
    def retrying(self) -> bool:
        """Whether it waits for, or is in, an attempt that is not its first."""
        return self.attempts > 0 and not self.state.finished

    @property
    def time_remaining(self) -> float | None:
        """Seconds until the time limit of the attempt that runs here, 0 or more; None without."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the attempt that runs here is: by its time limit, cancelled, or stopped."""
        return self._over or self.time_remaining == 0

    def checkpoint(self) -> None:
        """Raise, if it is over, `TimeLimitExceeded` or `AttemptOver`: for loops nobody can end."""
        if self.over:
            who = f"job {self.id} ({self.func})"
            if self.time_remaining == 0:
                raise TimeLimitExceeded(f"{who} took longer than {self.limit(LimitKind.TIME)} s")
            raise AttemptOver(f"{who} was cancelled, or its worker stops or lost it: it is over")

    def progress(self, done: float, of: float | None = None, note: str = "") -> None:
        """Say how far the attempt that runs here has come: *done* steps, *of* so many if known.

        It is `meta["progress"]` from then on, for all to read: the last that was said is written
        about once a second, and with the outcome. *note* has at most 200 characters.

        Raises `InvalidValue` for what is no progress, `ChancyError` if the job does not run here.
        """
        if self._heard is None:
            raise ChancyError(
                f"job {self.id} ({self.func}) does not run here: progress is that of a job that "
                "was injected into its function"
            )
        told = Progress(done, of, note)
        self.meta[PROGRESS] = told.plain()
        self._heard(told)

    def result(self) -> Any:
        """Return what the function returned, as plain JSON data.

        Raises `JobFailed` when the job has not succeeded; the message carries the last error.
        """
        if self.state is State.SUCCEEDED:
            return self.returned
        last = f": {self.errors[-1].type}: {self.errors[-1].message}" if self.errors else ""
        raise JobFailed(f"job {self.id} ({self.func}) is {self.state}{last}")
