"""Lists of jobs: a filter as SQL, of the same few lines for each of which it is put together."""

import re
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any
from uuid import UUID

from psycopg import sql

from chancy_core import codec
from chancy_core.filter import JobFilter
from chancy_core.job import QueuedJob
from chancy_core.statement import Names, Statement, load
from chancy_core.store import rows

#: Above all ids: where the first page of a list begins.
_LAST = UUID(int=(1 << 128) - 1)
#: Where the conditions of the filter stand.
_PLACE = "true /* it passes */"
#: What stands for other text in a pattern of PostgreSQL's.
_SPECIAL = re.compile(r"[\\%_]")


def list_jobs(
    names: Names, which: JobFilter, limit: int, before: UUID | None
) -> Statement[list[QueuedJob]]:
    """Answer up to *limit* jobs that pass a filter, the newest first, from below *before* on."""
    params: dict[str, Any] = {"before": before or _LAST, "limit": limit}
    condition = _condition(which, params, count())
    text = load("list_jobs").replace(_PLACE, condition.as_string())
    return Statement.written(text, names, params, rows.jobs)


def _condition(which: JobFilter, params: dict[str, Any], number: "count[int]") -> sql.Composable:
    """Write what a filter asks for, and add what it is compared with to *params*."""
    prefix = f"f{next(number)}_"
    asked = {f"{prefix}{name}": value for name, value in _asked(which).items()}
    params.update(asked)
    # Parameters have names of their own in each; all else is as it stands in the file.
    own = sql.SQL(load("passes").replace("%(", f"%({prefix}"))

    def written(filters: Iterable[JobFilter]) -> list[sql.Composable]:
        return [sql.SQL("({})").format(_condition(one, params, number)) for one in filters]

    parts: list[sql.Composable] = [own, *written(which.all_of)]
    if which.any_of:
        parts.append(sql.SQL("({})").format(sql.SQL(" OR ").join(written(which.any_of))))
    # What is NULL, as where a job has no key, does not pass: so it is one of those that do not.
    parts += [sql.SQL("{} IS NOT TRUE").format(one) for one in written(which.none_of)]
    return sql.SQL(" AND ").join(parts)


def _asked(which: JobFilter) -> Mapping[str, Any]:
    return {
        "queue": _several(which.queue),
        "func": _several(which.func),
        "state": _several(which.state),
        "unique_key": _several(which.unique_key),
        "retrying": which.retrying,
        "worker": which.worker,
        "created_after": rows.instant(which.created_after),
        "created_before": rows.instant(which.created_before),
        "meta": None if which.meta is None else codec.encode(which.meta, "meta"),
        "queue_like": _patterns(which.queue_like),
        "func_like": _patterns(which.func_like),
        "older_than": None if which.older_than is None else which.older_than.total_seconds(),
        "scheduled_after": rows.instant(which.scheduled_after),
        "scheduled_before": rows.instant(which.scheduled_before),
        "priority_from": which.priority_from,
        "priority_to": which.priority_to,
        "attempts_from": which.attempts_from,
        "attempts_to": which.attempts_to,
    }


def _several(given: tuple[str, ...] | None) -> list[str] | None:
    return None if given is None else [str(one) for one in given]


def _patterns(given: tuple[str, ...] | None) -> list[str] | None:
    """Write patterns in PostgreSQL's way."""
    if given is None:
        return None
    return [_SPECIAL.sub(r"\\\g<0>", one).replace("*", "%") for one in given]
