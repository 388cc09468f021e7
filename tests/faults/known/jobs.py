"""Jobs for child processes, which import them from here."""

import os
import resource
import time

from chancy import job


@job
def limits() -> list[int]:
    """Return the bounds of this process's address space."""
    return list(resource.getrlimit(resource.RLIMIT_AS))


@job
def lower_the_hard_limit(to: int) -> int:
    """Take from this process what no setting can give back; return its number."""
    resource.setrlimit(resource.RLIMIT_AS, (to, to))
    return os.getpid()


@job
def sleep(seconds: float) -> None:
    time.sleep(seconds)


@job
def sleep_whatever_happens(seconds: float) -> str:
    """Sleep on through whatever exception comes meanwhile."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(end - time.monotonic())
        except Exception:  # noqa: BLE001 - this is what it is about
            continue
    return "at last"
