"""Migration lines: numbered SQL files in a package, read and checked before anything runs.

A line is a package with pairs of files, numbered from 1 without gaps:

    0001_jobs.up.sql    0001_jobs.down.sql
    0002_tags.up.sql    0002_tags.down.sql

The comment at the head of a file speaks to us:

    -- chancy: oldest 1            in each up file: the oldest version of the code (the
                                  highest number it knows) that may go on running on it
    -- chancy: no-transaction      statement by statement, each committed at once; it may
                                  be cut off anywhere, so all of it must be repeatable
    -- chancy: grant work SELECT, UPDATE (paused) ON {crons}
                                  what `chancy roles --sql` lets push, work or look do
"""

import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Literal, Self

import attrs

from chancy_core.errors import MigrationError
from chancy_core.migrate.right import Right

_FILE = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.(?P<way>up|down)\.sql")
_LINE = re.compile(r"[a-z_][a-z0-9_]*")
_DIRECTIVE = re.compile(r"--\s*chancy:\s*(.*?)\s*")
_OLDEST = re.compile(r"oldest (\d+)")

# What may hide a semicolon, then the semicolon itself. Bodies between BEGIN ATOMIC
# and END are not known to it: write them between dollar quotes.
_TOKEN = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | \bE'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
    | (?<!\w)\$(?P<tag>[a-z_]\w*|)\$.*?\$(?P=tag)\$ | (?P<end>;)""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


@attrs.frozen
class Script:
    """The text of one file, with `{name}` for our names, and how it wants to be run."""

    text: str
    transaction: bool = True

    def statements(self) -> tuple[str, ...]:
        """The statements of the text, one by one, without those that are only comment."""
        ends = [found.end() for found in _TOKEN.finditer(self.text) if found["end"]]
        pieces = (
            self.text[start:end].strip()
            for start, end in zip([0, *ends], [*ends, len(self.text)], strict=True)
        )
        return tuple(piece for piece in pieces if _COMMENT.sub("", piece).strip(" \t\r\n;"))


@attrs.frozen
class Migration:
    """One numbered step of a line, and the way back."""

    line: str
    version: int
    name: str
    up: Script
    down: Script
    oldest: int
    #: Who may do what to what it makes, where there are roles.
    rights: tuple[Right, ...] = ()

    def __str__(self) -> str:
        return f"{self.line} {self.version:04}_{self.name}"


@attrs.frozen
class Line:
    """A named row of migrations, numbered 1, 2, 3 … without gaps."""

    name: str
    migrations: tuple[Migration, ...]

    @property
    def newest(self) -> int:
        """The version of the code: the highest number that it knows, 0 for an empty line."""
        return len(self.migrations)

    @classmethod
    def from_package(cls, name: str, package: str) -> Self:
        """Read the line *name* from the SQL files in the importable *package*."""
        try:
            folder = resources.files(package)
        except ImportError as exc:
            raise MigrationError(
                f"migration line {name!r}: its package {package!r} cannot be imported: {exc}"
            ) from exc
        files = {
            entry.name: entry.read_text("utf-8")
            for entry in folder.iterdir()
            if entry.name.endswith(".sql")
        }
        return cls.from_files(name, files)

    @classmethod
    def from_files(cls, name: str, files: Mapping[str, str]) -> Self:
        """Build the line *name* from texts by file name; raises `MigrationError` for a bad one."""
        if not _LINE.fullmatch(name):
            raise MigrationError(f"migration line {name!r}: a name must match [a-z_][a-z0-9_]*")
        ways = {"up": _scripts(name, files, "up"), "down": _scripts(name, files, "down")}
        _check_pairs(name, ways["up"], ways["down"])
        line = cls(
            name,
            tuple(
                _migration(name, version, ways["up"][version], ways["down"][version])
                for version in sorted(ways["up"])
            ),
        )
        _check_oldest(line)
        return line


@attrs.frozen
class Step:
    """One migration, in one direction."""

    migration: Migration
    way: Literal["up", "down"]

    @property
    def script(self) -> Script:
        """What will run."""
        return self.migration.up if self.way == "up" else self.migration.down

    def __str__(self) -> str:
        return f"{self.migration} {self.way}"


@attrs.frozen
class LineStatus:
    """Where a line stands: in the database, and in the code."""

    line: str
    #: The highest number that was applied; 0 if none.
    version: int
    #: The oldest version of the code that may run on it.
    oldest: int
    #: The version of the code; None when no installed package has this line.
    newest: int | None

    @property
    def complaint(self) -> str | None:
        """Why the installed code may not run on this schema, and what to do; None if it may."""
        if self.newest is None:
            return None
        if self.version < self.newest:
            return (
                f"line {self.line!r} is at version {self.version} in the database and the code "
                f"needs {self.newest}: run `chancy migrate`, or `await chancy.migrate()`"
            )
        if self.oldest > self.newest:
            return (
                f"line {self.line!r} is at version {self.version} in the database, on which only "
                f"code that knows version {self.oldest} may run, and this code knows "
                f"{self.newest}: install a newer version of the package"
            )
        return None


def _scripts(line: str, files: Mapping[str, str], way: str) -> dict[int, tuple[str, str]]:
    """The files of one way by number: (name, text)."""
    found: dict[int, tuple[str, str]] = {}
    for file in sorted(files):
        match = _FILE.fullmatch(file)
        if match is None:
            raise MigrationError(
                f"migration line {line!r}: {file!r} is not called NNNN_name.up.sql "
                "or NNNN_name.down.sql"
            )
        if match["way"] != way:
            continue
        version = int(match["version"])
        if version in found:
            raise MigrationError(
                f"migration line {line!r}: number {version} is taken twice, by "
                f"{found[version][0]!r} and {match['name']!r}"
            )
        found[version] = (match["name"], files[file])
    return found


def _check_pairs(
    line: str, ups: Mapping[int, tuple[str, str]], downs: Mapping[int, tuple[str, str]]
) -> None:
    for position, version in enumerate(sorted(ups), start=1):
        if version != position:
            raise MigrationError(
                f"migration line {line!r}: the numbers have a gap, {position} is missing "
                f"before {version}"
            )
    for version, (name, _) in sorted({**downs, **ups}.items()):
        stem = f"{version:04}_{name}"
        if version not in downs or downs[version][0] != ups.get(version, (name, ""))[0]:
            raise MigrationError(f"migration line {line!r}: {stem}.down.sql is missing")
        if version not in ups:
            raise MigrationError(f"migration line {line!r}: {stem}.up.sql is missing")


def _migration(line: str, version: int, up: tuple[str, str], down: tuple[str, str]) -> Migration:
    stem = f"migration line {line!r}: {version:04}_{up[0]}"
    oldest: int | None = None
    rights: list[Right] = []
    directives = list(_directives(up[1]))
    for directive in [*directives, *_directives(down[1])]:
        if stated := _OLDEST.fullmatch(directive):
            oldest = int(stated[1])
        elif granted := tuple(Right.read(directive)):
            rights += granted
        elif directive != "no-transaction":
            raise MigrationError(
                f"{stem}: does not know '-- chancy: {directive}'; there are 'oldest N', "
                "'no-transaction' and 'grant work SELECT, UPDATE (column) ON {{name}}'"
            )
    if oldest is None:
        raise MigrationError(
            f"{stem}.up.sql does not state '-- chancy: oldest N' in its head: the oldest "
            "version of the code that may go on running on this schema"
        )
    return Migration(
        line=line,
        version=version,
        name=up[0],
        up=Script(up[1], "no-transaction" not in directives),
        down=Script(down[1], "no-transaction" not in set(_directives(down[1]))),
        oldest=oldest,
        rights=tuple(rights),
    )


def _check_oldest(line: Line) -> None:
    least = 1
    for migration in line.migrations:
        if not least <= migration.oldest <= migration.version:
            raise MigrationError(
                f"{migration}: states 'oldest {migration.oldest}', but it must lie between "
                f"{least} (what was stated before) and {migration.version} (its own number)"
            )
        least = migration.oldest


def _directives(text: str) -> Iterator[str]:
    """What the head of *text*, its comments before the first statement, says to us."""
    for line in text.splitlines():
        if line.strip() and not line.startswith("--"):
            return
        if found := _DIRECTIVE.fullmatch(line.strip()):
            yield found[1]
