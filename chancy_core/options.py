"""What can be set of a job, wherever it is asked for."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from chancy_core.errors import InvalidJob
from chancy_core.limit import Limit

if TYPE_CHECKING:
    from chancy_core.job import Job


class JobOptions(TypedDict, total=False):
    """What `@job`, `options` and `from_func` take: the settings of a `Job`."""

    queue: str
    priority: int
    max_attempts: int
    scheduled_at: datetime | None
    limits: Iterable[Limit]
    unique_key: str | None
    meta: Mapping[str, Any]
    at_most_once: bool
    exclusive: bool
    keep_result: bool


def check_options(who: str, given: Iterable[str]) -> None:
    """Raise `InvalidJob` if one of the names is not of `JobOptions`; *who* gave them."""
    known = JobOptions.__annotations__
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InvalidJob(f"{who}: no option is called {unknown[0]!r}; there are {', '.join(known)}")


class Registered(Protocol):
    """A function that was decorated with `@job`."""

    @property
    def template(self) -> "Job":
        """Its job without arguments."""
