"""Arrays that we write as text are what PostgreSQL reads."""

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chancy_core.store import arrays

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
SPECIAL = st.sampled_from(["", "NULL", "null", "{}", '"', "\\", "a,b", " ", '\\"', "\n", "{a}"])


@pytest.fixture(scope="module")
def conn(chancy_server: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(chancy_server, autocommit=True) as connection:
        yield connection


@given(st.lists(st.none() | TEXT | SPECIAL, max_size=20))
def test_texts(conn: psycopg.Connection, values: list[str | None]) -> None:
    row = conn.execute("SELECT %s::text[]", [arrays.texts(values)]).fetchone()
    nothing = not any(value is not None for value in values)
    assert row == (None if nothing else values,)


@given(st.lists(st.uuids(), max_size=20))
def test_uuids(conn: psycopg.Connection, values: list[UUID]) -> None:
    assert conn.execute("SELECT %s::uuid[]", [arrays.uuids(values)]).fetchone() == (values,)


@given(st.lists(st.integers(0, 1) | st.floats(0, 1e10), max_size=20))
def test_numbers(conn: psycopg.Connection, values: list[float]) -> None:
    row = conn.execute("SELECT %s::float8[]", [arrays.numbers(values)]).fetchone()
    assert row == (values,)
