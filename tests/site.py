"""Packages as they are installed: two files in a folder, which is all that entry points need."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chancy_core import discovery

#: A group of entry points that nobody uses.
GROUP = "chancy.test"


class Site:
    """A folder of installed packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, name: str, *offers: str, version: str = "1.0", group: str = GROUP) -> None:
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = "\n".join(offers)
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")

    def module(self, name: str, text: str) -> None:
        (self.folder / f"{name}.py").write_text(text)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path))
    discovery.offers.cache_clear()
    yield Site(tmp_path)
    discovery.offers.cache_clear()
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
