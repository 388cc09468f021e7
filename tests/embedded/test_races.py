"""Moments too short to be hit by chance, made on purpose."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from chancy_core.embedded import locks


def test_a_lease_swept_before_it_was_locked_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = locks.take
    swept: list[Path] = []

    def take_what_is_swept(path: Path, wait: float = 0.0) -> int | None:
        fd = take(path, wait)
        if not swept:
            path.unlink()
            swept.append(path)
        return fd

    monkeypatch.setattr(locks, "take", take_what_is_swept)
    path, fd = locks.take_new(tmp_path, "10")
    assert path not in swept
    assert list(locks.living(tmp_path)) == ["10"]
    locks.free(fd)
    assert list(locks.living(tmp_path)) == []


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The supervisor's script, which has its siblings to itself: it is not of the package."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield importlib.import_module("chancy_core.embedded.supervisor")
    sys.modules["locks"]._drop_all()
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_who_comes_between_the_last_look_and_the_lock_is_seen(
    tmp_path: Path, script: ModuleType
) -> None:
    (tmp_path / "leases").mkdir()
    orders = {"folder": tmp_path, "bindir": "", "version": "18", "settings": {}, "linger": 0}
    supervisor = script.Supervisor(orders | {"throwaway": False, "user": None})
    _, lease = locks.take_new(tmp_path / "leases", "10")
    assert not supervisor._may_stop()
    assert not locks.is_held(tmp_path / "start.lock")
    locks.free(lease)
    assert supervisor._may_stop()
    assert locks.is_held(tmp_path / "start.lock")


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    first = locks.take(tmp_path / "lock")
    assert first is not None
    assert locks.take(tmp_path / "lock", wait=0.05) is None
    locks.free(first)
    second = locks.take(tmp_path / "lock")
    assert second is not None
    locks.free(second)
