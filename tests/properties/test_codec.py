"""The codec: what it accepts, PostgreSQL's jsonb gives back; what it must not refuse, it stores."""

import enum
import json
import math
from collections import OrderedDict, UserDict
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chancy_core import codec
from chancy_core.errors import InvalidValue
from chancy_core.perform import describe
from chancy_core.testing import database

ANY_TEXT = st.text(st.characters())  # NUL and lone surrogates included
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**4400), 10**4400)
    | st.floats()
    | ANY_TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(ANY_TEXT | st.integers(), inner, max_size=5)
        | st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def conn(server: str) -> Iterator[psycopg.Connection]:
    with database(server) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE kept (value jsonb)")
        yield conn


def stored(conn: psycopg.Connection, text: str) -> Any:
    """Return what jsonb makes of *text*, as our own statements read it."""
    query = (
        "WITH k AS (INSERT INTO kept VALUES (%s::jsonb) RETURNING value) SELECT value::text FROM k"
    )
    with conn.transaction(force_rollback=True):
        row = conn.execute(query, [text]).fetchone()
    assert row is not None
    return codec.decode(row[0])


def plain(value: Any) -> Any:
    """Return *value* with lists for tuples, which JSON does not tell apart."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def storable(value: Any) -> bool:
    """Whether JSON and PostgreSQL know such a value, by a rule of this test's own."""
    if isinstance(value, dict):
        keys = all(isinstance(key, str) and storable(key) for key in value)
        return keys and all(map(storable, value.values()))
    if isinstance(value, list | tuple):
        return all(map(storable, value))
    if isinstance(value, str):
        return not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) < 10**4300


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
@example(1e16)
@example(1e23)
@example(-1.7976931348623157e308)
@example(5e-324)
@example(-0.0)
@example(10**4300 - 1)
@example(10**4300)
@example({"": {"ключ": "\x7f\u2028\U0001f600"}})
@example({"b": 1, "a": [[], {}]})
def test_what_is_accepted_comes_back_equal(conn: psycopg.Connection, value: Any) -> None:
    try:
        text = codec.encode(value, "it")
    except InvalidValue:
        text = ""
    assert bool(text) is storable(value)
    if text:
        assert stored(conn, text) == plain(value)


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another"


class Number(int):
    __slots__ = ()


class Real(float):
    __slots__ = ()


@pytest.mark.parametrize(
    ("given", "back"),
    [
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Text("a"), "a"),
        (Number(7), 7),
        (Real(1e23), 1e23),
        ({Colour.RED: 1, Text("a"): 2}, {"red": 1, "a": 2}),
        (OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        (UserDict(a=(1, 2)), {"a": [1, 2]}),
        ({frozenset({1})}, [[1]]),
    ],
)
def test_relatives_of_plain_values_are_stored_as_these(
    conn: psycopg.Connection, given: Any, back: Any
) -> None:
    assert stored(conn, codec.encode(given, "it")) == back


class Broken:
    """Whatever one asks of it, it raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


class BrokenError(Exception):
    def __str__(self) -> str:
        raise Broken  # type: ignore[misc] - a TypeError, of all things


class BrokenDict(UserDict[str, Any]):
    def items(self) -> Any:
        raise BrokenError


def recursive() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


def nested(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth - 1):
        made = [made]
    return made


CULPRITS: list[Any] = [
    Broken(),
    BrokenDict(),
    {Broken(): 1},
    recursive(),
    nested(102),
    nested(100_000),
    10**4300,
    -(10**5000),
    float("nan"),
    {"a": [float("-inf")]},
    "\0",
    "\ud800",
    {"\udfff": 1},
    {1: 2},
    object(),
    1j,
    type("Odd\udc80".encode("utf-8", "replace").decode(), (), {"__repr__": Broken.__repr__})(),
    "x" * 1_000_000,
    "€" * 333_333,
    BrokenError(),
    {"k" * 300_000: {"l" * 300_000: object()}},
]


@pytest.mark.parametrize("value", CULPRITS, ids=range(len(CULPRITS)))
def test_what_cannot_be_stored_is_refused_or_salvaged(conn: psycopg.Connection, value: Any) -> None:
    with pytest.raises(InvalidValue, match=r"^it") as caught:
        codec.encode(value, "it")
    assert len(str(caught.value)) < 1000
    salvaged = stored(conn, codec.salvage(value))
    assert set(salvaged) == {"repr"}
    assert len(salvaged["repr"]) < 17_000


def test_the_limit_of_size_is_in_bytes(conn: psycopg.Connection) -> None:
    at_most = ["x" * 999_998, "é" * 499_999, "€" * 333_332, "\U0001f600" * 249_999]
    for text in at_most:
        assert stored(conn, codec.encode(text, "it")) == text
        with pytest.raises(InvalidValue, match="bytes of JSON, where at most 1,000,000 are"):
            codec.encode(text + text[:3], "it")


def test_nesting_is_accepted_up_to_its_limit(conn: psycopg.Connection) -> None:
    deepest = nested(codec.MAX_DEPTH + 1)
    assert stored(conn, codec.encode(deepest, "it")) == deepest


def test_an_error_names_the_place() -> None:
    with pytest.raises(InvalidValue, match=r"^arguments of f\.user\.names\[1\]: .*NUL"):
        codec.encode({"user": {"names": ["a", "\0"]}}, "arguments of f")


@settings(deadline=None)
@given(VALUES | ANY_TEXT.map(ValueError))
def test_salvage_never_raises_and_keeps_what_encode_accepts(
    conn: psycopg.Connection, value: Any
) -> None:
    back = stored(conn, codec.salvage(value))
    try:
        assert back == stored(conn, codec.encode(value, "it"))
    except InvalidValue:
        assert set(back) == {"repr"}


def test_what_is_encoded_already_is_left_alone() -> None:
    assert codec.salvage(codec.Encoded("[1]")) == "[1]"
    assert codec.salvage("[1]") == '"[1]"'


@settings(deadline=None)
@given(ANY_TEXT, st.integers(0, 50))
def test_clean_text_can_be_stored_and_is_short(
    conn: psycopg.Connection, text: str, limit: int
) -> None:
    cleaned = codec.clean(text, limit)
    assert stored(conn, json.dumps(cleaned)) == cleaned
    assert len(cleaned) <= limit + len("\n[1,000,000 characters cut]\n")
    if storable(text) and len(text) <= limit:
        assert cleaned == text


@pytest.mark.parametrize(
    "exc",
    [
        BrokenError(),
        ValueError("\0\ud800"),
        ValueError("x" * 1_000_000),
        ExceptionGroup("\ud800", [BrokenError()]),
        SystemExit(1),
        type("Sur", (Exception,), {"__module__": "a\0b", "__qualname__": "c\0"})(),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_any_exception_can_be_described(conn: psycopg.Connection, exc: BaseException) -> None:
    failure = describe(exc)
    texts = [failure.type, failure.message, failure.traceback]
    assert stored(conn, json.dumps(texts)) == texts
    assert all(len(text) < 17_000 for text in texts)
