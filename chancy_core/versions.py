"""Versions of arguments: where a job has its own, and how those of older ones are lifted."""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from chancy_core import codec
from chancy_core.errors import InvalidJob, InvalidValue

if TYPE_CHECKING:
    from chancy_core.job import Job

#: Makes arguments of one version, plain JSON data, into those of the next.
Upcaster = Callable[[dict[str, Any]], Mapping[str, Any]]

#: Where it stands in the meta of a row; without it a job's arguments are of the first version.
VERSION: Final = "arguments_version"
#: The highest that there can be.
MOST = 32_767


def take(job: "Job") -> None:
    """Take the version out of the meta of a job that is being made: a row has it there, or a pack.

    What it was made with, if it is no first version, holds.
    """
    if type(job.meta) is not dict or VERSION not in job.meta:
        return
    meta = dict(job.meta)
    version = meta.pop(VERSION)
    object.__setattr__(job, "meta", meta)
    if job.version == 1:
        object.__setattr__(job, "version", version)


def written(job: "Job") -> Mapping[str, Any]:
    """Return the meta of a job as it is stored."""
    return job.meta if job.version == 1 else {**job.meta, VERSION: job.version}


def read(meta: dict[str, Any]) -> int:
    """Take the version out of the meta of a row. Raises `InvalidValue` for what is none."""
    if VERSION not in meta:
        return 1
    version = meta.pop(VERSION)
    if type(version) is int and 1 <= version <= MOST:
        return version
    raise InvalidValue(f"meta.{VERSION}: a version is a whole number from 1 to {MOST:,}")


def kept(text: str, version: int) -> str:
    """Return the meta that a function has left, as JSON, with the version that it had before."""
    if version == 1 and VERSION not in text:
        return text
    meta = codec.as_object(text)
    meta.pop(VERSION, None)
    return codec.as_text(meta if version == 1 else meta | {VERSION: version})


def check(who: str, version: int, upcasters: Mapping[int, Upcaster]) -> None:
    """Refuse a version that is none, or to which something older could not be lifted.

    Raises `InvalidJob`, in the name of *who*.
    """
    if type(version) is not int or not 1 <= version <= MOST:
        raise InvalidJob(
            f"{who}: version must be a whole number from 1 to {MOST:,}, not {codec.shown(version)}"
        )
    if not isinstance(upcasters, Mapping):
        raise InvalidJob(
            f"{who}: upcasters must be a mapping, such as {{1: from_the_first}}, "
            f"not {codec.shown(upcasters)}"
        )
    older = range(1, version)
    for number, upcaster in upcasters.items():
        if type(number) is not int or number not in older:
            raise InvalidJob(
                f"{who}: an upcaster from {codec.shown(number)}, which is no version before "
                f"{version}"
            )
        if not callable(upcaster) or inspect.iscoroutinefunction(upcaster):
            raise InvalidJob(
                f"{who}: the upcaster from version {number} must be a plain function that takes "
                f"the arguments as a dict and returns those of version {number + 1}, "
                f"not {codec.shown(upcaster)}"
            )
    missing = [str(number) for number in older if number not in upcasters]
    if missing:
        raise InvalidJob(
            f"{who}: version {version} needs an upcaster from each version before it, for jobs "
            f"that are in the database: there is none from {', '.join(missing)}"
        )


def lifted(
    name: str, kwargs: Mapping[str, Any], since: int, upcasters: Mapping[int, Upcaster]
) -> dict[str, Any]:
    """Return arguments of version *since* as those of the newest, to which *upcasters* lead.

    They are copied, and plain JSON data before and after each step. Raises `InvalidValue` when
    an upcaster raises, or answers what are no arguments.
    """
    given = _plain(name, since, kwargs)
    for number in range(since, len(upcasters) + 1):
        who = f"{name}: the upcaster of its arguments from version {number} to {number + 1}"
        try:
            answer = upcasters[number](given)
        except Exception as exc:
            raise InvalidValue(f"{who} raised {type(exc).__name__}: {codec.said(exc)}") from exc
        if not isinstance(answer, Mapping):
            raise InvalidValue(
                f"{who} answered {type(answer).__name__}, and not the arguments as a dict"
            )
        given = _plain(name, number + 1, answer)
    return given


def _plain(name: str, version: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as they come back from the database."""
    return codec.as_object(codec.encode(given, f"arguments of {name}, version {version}"))
