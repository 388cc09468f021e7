"""What a package of migrations must look like, and how its statements are told apart."""

import sys
from pathlib import Path

import pytest

from chancy_core.errors import MigrationError
from chancy_core.migrate.line import Line, Script

UP, DOWN = "-- chancy: oldest 1\nSELECT 1;\n", "SELECT 2;\n"
GOOD = {
    "0001_a.up.sql": UP,
    "0001_a.down.sql": DOWN,
    "0002_b.up.sql": UP,
    "0002_b.down.sql": DOWN,
}


def test_a_line_is_read_from_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "acme_migrations_for_test"
    package.mkdir()
    for name, text in {"__init__.py": "", "README.md": "", **GOOD}.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        line = Line.from_package("acme", package.name)
    finally:
        sys.modules.pop(package.name, None)
    assert (line.name, line.newest) == ("acme", 2)
    assert [str(migration) for migration in line.migrations] == ["acme 0001_a", "acme 0002_b"]
    assert line.migrations[0].down == Script(DOWN)


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(MigrationError, match=r"'acme': its package 'no\.such' cannot be imported"):
        Line.from_package("acme", "no.such")


def test_only_the_head_is_read() -> None:
    text = "-- Words.\n\n-- chancy: no-transaction\n-- chancy: oldest 1\nSELECT 1;\n-- chancy: x\n"
    (migration,) = Line.from_files(
        "core", {"0001_a.up.sql": text, "0001_a.down.sql": DOWN}
    ).migrations
    assert (migration.oldest, migration.up.transaction, migration.down.transaction) == (
        1,
        False,
        True,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"0002_b.up.sql": None, "0002_b.down.sql": None, "0003_c.up.sql": UP},
            "a gap, 2 is missing",
        ),
        ({"0002_c.up.sql": UP}, "number 2 is taken twice, by 'b' and 'c'"),
        ({"0002_b.down.sql": None}, r"0002_b\.down\.sql is missing"),
        ({"0002_b.up.sql": None}, r"0002_b\.up\.sql is missing"),
        ({"0003_c.up.sql": UP, "0003_d.down.sql": DOWN}, r"0003_c\.down\.sql is missing"),
        ({"003_c.up.sql": UP}, r"'003_c\.up\.sql' is not called NNNN_name\.up\.sql"),
        (
            {"0002_b.up.sql": "SELECT 1;\n-- chancy: oldest 1\n"},
            "does not state '-- chancy: oldest N'",
        ),
        (
            {"0002_b.up.sql": "-- chancy: oldest 3\n"},
            "'oldest 3', but it must lie between 1 .* and 2",
        ),
        (
            {"0001_a.up.sql": "-- chancy: oldest 0\n"},
            "'oldest 0', but it must lie between 1 .* and 1",
        ),
        (
            {"0002_b.up.sql": "-- chancy: no-transactions\n"},
            "does not know '-- chancy: no-transactions'",
        ),
    ],
)
def test_a_bad_line_is_refused(change: dict[str, str | None], message: str) -> None:
    files = {name: text for name, text in (GOOD | change).items() if text is not None}
    with pytest.raises(MigrationError, match=message):
        Line.from_files("core", files)


def test_the_oldest_never_goes_back() -> None:
    later = {"0003_c.up.sql": UP, "0003_c.down.sql": DOWN}
    with pytest.raises(MigrationError, match=r"must lie between 2 .* and 3"):
        Line.from_files("core", GOOD | {"0002_b.up.sql": "-- chancy: oldest 2\n"} | later)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'a;b', 'it''s;'",
        r"SELECT E'a\';b'",
        'SELECT 1 AS "a;b"',
        "SELECT 1 -- a;b\n, 2",
        "SELECT /* a;b\n; */ 1",
        "DO $$ BEGIN PERFORM 1; END $$",
        "DO $a$ BEGIN PERFORM $$x;y$$; END $a$",
        "SELECT $1; SELECT $2",
    ],
)
def test_statements_end_at_semicolons_that_are_not_inside_something(statement: str) -> None:
    pieces = Script(f"-- head; of file\nSELECT 0;\n{statement};\n-- the end;\n").statements()
    expected = (
        [f"{part};" for part in statement.split("; ")] if "$2" in statement else [f"{statement};"]
    )
    assert list(pieces) == ["-- head; of file\nSELECT 0;", *expected]
