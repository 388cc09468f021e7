"""What is shipped: four packages, the files they need, and nothing by accident."""

import configparser
import importlib.metadata
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.afresh import ROOT, build

PACKAGES = {"chancy", "chancy_core", "chancy_plugins", "chancy_executors"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel")))


def test_the_wheel_has_the_four_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES
    assert not any("facade" in name or "__pycache__" in name for name in wheel.namelist())


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_each_package_is_typed(wheel: zipfile.ZipFile, package: str) -> None:
    assert {f"{package}/__init__.py", f"{package}/py.typed"} <= set(wheel.namelist())


def test_every_data_file_of_the_checkout_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    here = {
        str(path.relative_to(ROOT))
        for package in ("chancy_core", "chancy_plugins")
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".sql", ".py", ".html", ".css", ".js"} and "facade" not in path.parts
    }
    assert here <= set(wheel.namelist())


def test_the_wheel_carries_readme_and_licence(wheel: zipfile.ZipFile) -> None:
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert (ROOT / "README.md").read_text().strip() in metadata


def test_the_wheel_works_without_the_checkout(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Each entry point of the wheel loads from the wheel, and the shelf is no package."""
    wheel.extractall(tmp_path)
    (entry_points,) = tmp_path.glob("*.dist-info/entry_points.txt")
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.read(entry_points)
    objects = [value for section in parser.sections() for _, value in parser.items(section)]
    assert objects
    script = f"""
import importlib, sys
sys.path[:0] = {[str(tmp_path), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]!r}
for name in {sorted(PACKAGES)!r}:
    assert importlib.import_module(name).__file__.startswith({str(tmp_path)!r}), name
for value in {objects!r}:
    module, _, attribute = value.partition(":")
    found = importlib.import_module(module)
    assert not attribute or getattr(found, attribute)
try:
    import executors
except ImportError:
    pass
else:
    raise SystemExit("`import executors` works: the shelf has become a package")
"""
    # Without `site` there are no .pth files, by which an editable install shows the checkout.
    command = [sys.executable, "-I", "-S", "-c", script]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_installed_entry_points_are_those_of_the_checkout(wheel: zipfile.ZipFile) -> None:
    """An environment whose entry points are out of date needs `pip install -e .` again."""
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(wheel.read(name).decode())
    built = {(group, *item) for group in parser.sections() for item in parser.items(group)}
    installed = importlib.metadata.distribution("chancy").entry_points
    assert {(entry.group, entry.name, entry.value) for entry in installed} == built


def test_the_source_distribution_builds_the_same(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml", "tests/test_packaging.py"} <= names
    assert "chancy_core/facade/chancy/py.typed" in names
    assert "executors/chancy_executors/py.typed" in names
    assert not [name for name in names if name.endswith(".whl")]
