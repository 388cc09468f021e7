"""What a worker says of its machine: what its processes may really use."""

import os
from pathlib import Path

import pytest

from chancy_core import discovery
from chancy_core.tags import matches
from chancy_plugins import host_tags
from chancy_plugins.host_tags import GIB, limits


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2 = {"proc/self/cgroup": "0::/a/b\n"}
V1 = {"proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/c/d\n1:name=systemd:/x\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, (None, None)),
        (V2, (None, None)),
        ({**V2, "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, (None, None)),
        ({**V2, "sys/fs/cgroup/a/b/memory.max": "max\n"}, (None, None)),
        ({**V2, "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, (1.5, None)),
        (
            {
                **V2,
                "sys/fs/cgroup/a/b/cpu.max": "300000 100000",
                "sys/fs/cgroup/a/cpu.max": "200000 100000",
                "sys/fs/cgroup/a/b/memory.max": "2048",
                "sys/fs/cgroup/a/memory.max": "4096",
                "sys/fs/cgroup/other/memory.max": "1",
            },
            (2.0, 2048),
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "512"}, (None, 512)),
        (
            {
                **V1,
                "sys/fs/cgroup/cpu/c/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu/c/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
                "sys/fs/cgroup/memory/m/memory.limit_in_bytes": "1024",
            },
            (0.5, 1024),
        ),
        (
            {
                **V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            (None, None),
        ),
        (
            {**V2, "sys/fs/cgroup/a/cpu.max": "nonsense", "sys/fs/cgroup/memory.max": ""},
            (None, None),
        ),
        ({"proc/self/cgroup": "no colons here\n0:::::\n"}, (None, None)),
    ],
)
def test_limits_of_control_groups(
    tmp_path: Path, files: dict[str, str], expected: tuple[float | None, int | None]
) -> None:
    assert limits(write(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("limit", "cpus", "memory"),
    [((0.5, None), 1, None), ((1.9, 5 * GIB - 1), 1, 4), ((1e6, 2**62), None, None)],
)
def test_tags_say_what_is_left_in_whole_ones(
    monkeypatch: pytest.MonkeyPatch,
    limit: tuple[float | None, int | None],
    cpus: int | None,
    memory: int | None,
) -> None:
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // GIB
    monkeypatch.setattr(host_tags, "limits", lambda root: limit)
    tags = host_tags.host_tags()
    assert f"cpus={cpus or host_tags.processors()}" in tags
    assert f"memory={there if memory is None else min(memory, there)}GiB" in tags
    assert matches({"cpus=[1-9][0-9]*"}, tags)


def test_it_is_installed_by_name() -> None:
    assert discovery.load("chancy.tags", "host") is host_tags.host_tags
