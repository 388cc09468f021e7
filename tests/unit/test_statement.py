"""Names and statements: text and values never meet."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chancy_core.errors import InvalidValue
from chancy_core.statement import Names, Statement, load, nothing

IDENTIFIERS = st.from_regex(r"\A[a-z_][a-z0-9_]{0,29}\Z")


@pytest.mark.parametrize(
    "wrong", ["", "a" * 31, "A", "1a", "a-b", 'a"b', "a.b", "a b", "ä", "a\n", None, 7]
)
@pytest.mark.parametrize("field", ["schema", "prefix"])
def test_only_plain_identifiers_are_names(field: str, wrong: Any) -> None:
    with pytest.raises(InvalidValue, match=field):
        Names(**{field: wrong})


@given(IDENTIFIERS, IDENTIFIERS)
@example("s" * 30, "p" * 30)
def test_names_are_quoted_and_qualified(schema: str, prefix: str) -> None:
    names = Names(schema, prefix)
    text = names.render("SELECT '{{}}' FROM {jobs}, {schema}.x -- {a b} {}")
    assert text == f"""SELECT '{{}}' FROM "{schema}"."{prefix}jobs", "{schema}".x -- {{a b}} {{}}"""
    assert 1 <= len(names.channel.encode()) <= 63  # what LISTEN and pg_notify take


@given(IDENTIFIERS, IDENTIFIERS, IDENTIFIERS, IDENTIFIERS)
def test_two_installations_have_two_channels(a: str, b: str, c: str, d: str) -> None:
    assert (Names(a, b).channel == Names(c, d).channel) is ((a, b) == (c, d))


def test_a_statement_carries_its_parameters_beside_its_text() -> None:
    params = {"schema": "x'; DROP TABLE jobs"}
    statement = Statement.of("queues", Names("acme", "q_"), params, len)
    assert b'FROM "acme"."q_queues"' in statement.text
    assert b"DROP" not in statement.text
    assert statement.params is params
    assert statement.read([(1,), (2,)]) == 2
    assert nothing([(1,)]) is None  # type: ignore[func-returns-value]


def test_each_file_says_what_it_promises_and_asks_our_clock() -> None:
    from importlib.resources import files

    names = [
        path.name.removesuffix(".sql")
        for path in files("chancy_core.sql").iterdir()
        if path.name.endswith(".sql")
    ]
    assert "claim" in names
    for name in names:
        text = load(name)
        assert text.startswith("-- ")
        assert " now()" not in text.replace("{now}()", "")
        assert "{" not in Names().render(text)
