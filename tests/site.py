"""A folder of installed packages, made for one test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chancy_core import discovery


class Site:
    """Distributions of two files each, and their modules."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, name: str, *offers: str, version: str = "1.0", group: str) -> None:
        self.offer(name, {group: offers}, version=version)

    def offer(self, name: str, groups: dict[str, tuple[str, ...]], *, version: str = "1.0") -> None:
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        text = "".join(
            f"[{group}]\n" + "".join(f"{line}\n" for line in lines)
            for group, lines in groups.items()
        )
        (info / "entry_points.txt").write_text(text)

    def module(self, name: str, text: str) -> None:
        (self.folder / f"{name}.py").write_text(text)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """A folder whose packages are installed for one test, and let in."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("CHANCY_ALLOW", raising=False)
    monkeypatch.delenv("CHANCY_DISABLED_PLUGINS", raising=False)
    discovery.forget()
    yield Site(tmp_path)
    discovery.forget()
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
