"""Names become SQL by quoting alone: no text of ours is put together from values."""

import ast
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chancy import Chancy
from chancy_core.errors import InvalidValue
from chancy_core.statement import Names
from tests.faults.sizes import size

ROOT = Path(__file__).parent.parent.parent
CODE = [
    path
    for package in ("chancy_core", "chancy_plugins", "executors/chancy_executors")
    for path in (ROOT / package).rglob("*.py")
]
#: What begins a statement, or a part of one.
SQL = re.compile(
    r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|DROP|ALTER|GRANT|REVOKE|(UN)?LISTEN|NOTIFY"
    r"|SET|WITH|EXPLAIN|COPY|TRUNCATE|BEGIN|COMMENT ON|LOCK|WHERE|AND|FROM|ORDER BY|VALUES)\b "
)


def texts(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str | bytes):
            value = inner.value
            yield value if isinstance(value, str) else value.decode(errors="replace")


def put_together(source: str) -> set[int]:
    """Return the lines on which SQL is made by an f-string, `%`, `+` or `str.format`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.JoinedStr() | ast.BinOp(op=ast.Mod() | ast.Add()):
                made = True
            case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="format" | "join")):
                made = True
            case _:
                made = False
        if made and any(SQL.match(text) for text in texts(node)):
            found.add(node.lineno)
    return found


def test_no_sql_is_put_together_from_values():
    wrong = {str(path): put_together(path.read_text("utf-8")) for path in CODE}
    assert {path: lines for path, lines in wrong.items() if lines} == {}
    assert len(CODE) > 100


@pytest.mark.parametrize(
    "source",
    [
        'f"SELECT * FROM {table}"',
        '"DELETE FROM jobs WHERE id = %s" % id',
        '"DROP TABLE {}".format(name)',
        '"UPDATE " + table + " SET state = 1"',
        'b"WITH a AS (" + text',
        '" AND ".join(" WHERE " for _ in x)',
    ],
)
def test_sql_that_is_put_together_would_be_found(source: str):
    assert put_together(f"def f(x):\n    return {source}") == {2}


def test_sql_that_is_composed_is_not_meant():
    assert put_together('sql.SQL("LISTEN {}").format(sql.Identifier(channel))') == set()
    assert put_together('names.render("SELECT 1 FROM {jobs}")') == set()
    assert put_together('f"the role {role} may not create databases"') == set()


def hostile(count: int) -> Iterator[str]:
    """Yield what somebody might give as a prefix or a schema; some of it is harmless."""
    chance = random.Random(5)
    letters = "aZ_09.\"';-- \n\t\0%s{}$\\/*\u00e9\u0131\u212a\u0660\ud800"
    for _ in range(count):
        yield "".join(chance.choices(letters + "abc_", k=chance.randint(0, 40)))


@pytest.mark.parametrize("setting", ["schema", "prefix"])
def test_an_identifier_is_plain_or_refused(setting: str):
    taken = 0
    harmless = ["a", "_", "z9_", "a" * 30, "select", "a_b_c"]
    for name in [*harmless, *hostile(size(1000, 10_000))]:
        if re.fullmatch("[a-z_][a-z0-9_]{0,29}", name, re.ASCII) and "\n" not in name:
            taken += getattr(Names(**{setting: name}), setting) == name
            continue
        with pytest.raises(InvalidValue, match=f"{setting} must be 1 to 30 lower-case"):
            Chancy("postgresql://localhost/x", **{setting: name})
    assert taken > len(harmless)


def test_no_name_is_longer_than_postgresql_keeps():
    """It cuts longer ones silently, and then two installations could meet."""
    names = Names(schema="s" * 30, prefix="p" * 30)
    words = {
        word
        for path in (ROOT / "chancy_core").rglob("*.sql")
        for word in re.findall(r"(?<!\{)\{(\w+)\}", path.read_text("utf-8"))
    }
    assert {"jobs", "history", "workers", "ensure_partitions"} <= words
    made = [names.prefix + word for word in words - {"schema"}]
    made += [names.channel, names.answers, f"{names.prefix}history_20261231"]
    assert [name for name in made if len(name.encode()) > 63] == []
