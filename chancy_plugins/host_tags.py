"""Tags of the machine that a worker may use, or of the share of it that its container has."""

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

GIB = 1024**3


def host_tags() -> set[str]:
    """Return what may be used of this machine: `cpus=8`, `memory=15GiB`, `distro=debian-12`.

    Processors are those that this process may run on; of both, what is left by the limits of
    control groups, in whole ones: a container of 1.5 processors on a large machine says `cpus=1`.
    A distribution is named on Linux, if it says what it is.
    """
    quota, limit = limits(Path("/"))
    cpus = [processors()] if quota is None else [processors(), max(1, int(quota))]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory = memory if limit is None else min(memory, limit)
    tags = {f"cpus={min(cpus)}", f"memory={memory // GIB}GiB"}
    with suppress(OSError):
        release = platform.freedesktop_os_release()
        tags.add("distro=" + "-".join(filter(None, [release["ID"], release.get("VERSION_ID")])))
    return tags


def processors() -> int:
    """Return how many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limits(root: Path) -> tuple[float | None, int | None]:
    """Return how many processors, and bytes of memory, the control groups of a process leave it.

    None is no limit. Understands both versions of control groups; the least limit of a group and
    of those around it holds.
    """
    quotas, sizes = [], []
    for group in groups(root):
        quota = _words(group / "cpu.max") or [
            *_words(group / "cpu.cfs_quota_us"),
            *_words(group / "cpu.cfs_period_us"),
        ]
        if len(quota) == 2 and all(word.isdecimal() and int(word) for word in quota):
            quotas.append(int(quota[0]) / int(quota[1]))
        size = _words(group / "memory.max") or _words(group / "memory.limit_in_bytes")
        sizes += [int(word) for word in size if word.isdecimal()]
    return min(quotas, default=None), min(sizes, default=None)


def groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups of this process, and of those around them."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            controllers, _, path = line.partition(":")[2].partition(":")
            inner = PurePosixPath(path.lstrip("/"))
            for hierarchy in controllers.split(","):  # version 2 has one, without a name
                for folder in (inner, *inner.parents):
                    yield root / "sys/fs/cgroup" / hierarchy / folder


def _words(file: Path) -> list[str]:
    with suppress(OSError):
        return file.read_text().split()
    return []
