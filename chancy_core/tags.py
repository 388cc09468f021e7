r"""Which workers run which queues: patterns on the queue's side, plain strings on the worker's.

Patterns are RE2's, which take linear time whatever they are given, and match a tag as a whole:
`has=gpu` does not match `has=gpu-small`. The pattern `*` alone means every worker.
"""

import os
import platform
from collections.abc import Iterable

from chancy_core.codec import shown, unstorable
from chancy_core.errors import InvalidQueue, InvalidValue

#: The most characters that a pattern may have.
MAX_PATTERN = 200


def check_pattern(pattern: str, queue: str) -> None:
    """Raise `InvalidQueue` if *pattern* cannot serve as a tag pattern of *queue*."""
    if not isinstance(pattern, str) or not 1 <= len(pattern) <= MAX_PATTERN:
        raise InvalidQueue(
            f"queue {queue!r}: a tag pattern has 1 to {MAX_PATTERN} characters, "
            f"unlike {shown(pattern)}"
        )
    if pattern in {"*", ".*"}:
        return
    import re2

    problem = unstorable(pattern)
    if problem:
        raise InvalidQueue(f"queue {queue!r}: the tag pattern {pattern!r}: {problem}")
    quiet = re2.Options()
    quiet.log_errors = False  # the exception says it; RE2 would write to stderr as well
    try:
        re2.compile(pattern, quiet)
    except re2.error as exc:
        said = exc.args[0].decode(errors="replace") if isinstance(exc.args[0], bytes) else exc
        raise InvalidQueue(
            f"queue {queue!r}: the tag pattern {pattern!r} is no regular expression of RE2: {said}"
        ) from exc


def matches(patterns: Iterable[str], tags: Iterable[str]) -> bool:
    """Return whether any of *patterns* matches any of *tags* as a whole."""
    patterns, tags = set(patterns), set(tags)
    if patterns & {"*", ".*"}:
        return bool(tags)
    import re2

    return any(re2.fullmatch(pattern, tag) for pattern in patterns for tag in tags)


def check_tags(tags: Iterable[str], worker: str) -> frozenset[str]:
    """Return the tags that somebody gives a worker. Raises `InvalidValue` for what is no text."""
    who = f"worker {worker!r}"
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise InvalidValue(f"{who}: tags must be a set, such as {{'has=gpu'}}, not {shown(tags)}")
    given = list(tags)
    for tag in given:
        problem = unstorable(tag) if isinstance(tag, str) else "a tag is a string"
        if problem is not None:
            raise InvalidValue(f"{who}: the tag {shown(tag)}: {problem}")
    return frozenset(given)


def own_tags(worker_id: str) -> frozenset[str]:
    """Return the tags that every worker has of itself."""
    return frozenset(
        {
            "*",
            f"hostname={os.uname().nodename}",
            f"worker_id={worker_id}",
            f"python={platform.python_version()}",
            f"arch={platform.machine()}",
            f"os={os.uname().sysname.lower()}",
        }
    )
