# ruff: noqa: DTZ901, E501
"""Values that have broken a job queue, or could: more than two hundred, each for every field."""

import array
import collections
import datetime as dt
import decimal
import fractions
import math
import pathlib
import re
import uuid
from typing import Any


def nested(depth: int, kind: type = list) -> Any:
    made: Any = []
    for _ in range(depth - 1):
        made = [made] if kind is list else {"a": made}
    return made


def endless() -> tuple[list[Any], dict[str, Any]]:
    """Return a list and a mapping that hold themselves."""
    line: list[Any] = []
    line.append(line)
    table: dict[str, Any] = {}
    table["a"] = table
    return line, table


class Wordless:
    """Whatever one asks of it, it raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    __str__ = __bool__ = __len__ = __iter__ = __hash__ = __repr__  # type: ignore[assignment]


CONTROLS = [f"a{chr(code)}b" for code in (*range(32), *range(0x7F, 0xA0))]
NO_TEXT = [
    "\0", "\0a", "a\0", "\0\0", "\ud800", "\udfff", "a\udc80", "\ud83d\ud83d", "\ude00\ud83d",
    "\ud83d\ude00", "\udcff" * 100,
]  # fmt: skip
ODD_TEXT = [
    "", " ", "\n", "\t\r\n", "\u00a0", "\u2028", "\u2029", "\u200b", "\u200d", "\u202e", "\u2066", "\ufeff",
    "\ufffd", "\ufffe", "\uffff", "\ufdd0", "\U0010ffff", "\U0001f600", "👩‍👩‍👧‍👦", "e\u0301", "\u00e9",
    "ﬁ", "İ", "ß", "ǅ", "क्षि", "\u0300" * 50, "日本語", "עברית", "العربية", "null", "None", "NaN",
    "Infinity", "true", "undefined", "0", "-1", "1e309", "infinity", "-infinity", "now", "epoch",
    "9999-12-31", "0000-00-00", "00000000-0000-0000-0000-000000000000",
]  # fmt: skip
HOSTILE_TEXT = [
    "'", '"', "''", '""', "`", "\\", "\\\\", "\\0", "\\x00", "\\u0000", "\\ud800", "--", "/*", "*/", ";", "$1",
    "$$", "$a$", "%s", "%(id)s", "%%", "%", "{jobs}", "{{", "}}", "{", "{}", "{0}", "[]", "[", "[1,", '{"a":', '"a',
    "'; DROP TABLE chancy_jobs; --", "1 OR 1=1", "x' UNION SELECT 1 --", "E'\\000'", "::text",
    "../../etc/passwd", "/dev/null", "C:\\", "con", "a/b", "a.b", "a b", "a,b", "a:b", "a|b", "a=b", "queue.pushed:x",
    "os.system", "__import__('os')", "<script>", "&amp;", "${jndi:x}", "$(id)", "`id`", "|id", ".*", "*", "(a+)+$",
    "(", "a{1000}{1000}", "\\1", "(?i)a", "has=gpu",
]  # fmt: skip
LONG_TEXT = [
    "a" * 63, "a" * 100, "a" * 101, "a" * 200, "a" * 201, "a" * 400, "a" * 401, "a" * 512, "a" * 513,
    "é" * 256, "é" * 257, "€" * 333, "€" * 334, "\U0001f600" * 100, "\U0001f600" * 2000, "a" * 1000, "a" * 1001,
    "a" * 2713, "a" * 7999, "a" * 100_000, "a" * 999_900, "é" * 500_000, "\\" * 600_000,
]  # fmt: skip
NUMBERS: list[Any] = [
    *(sign * (2**power + more) for power in (15, 31, 53, 63, 64) for more in (-1, 0) for sign in (1, -1)),
    10**400, 10**4299, 10**4300 - 1, 10**4300, -(10**5000), 0, -1, True, False,
    0.0, -0.0, 0.1, 1e15, 1e16, 1e22, 1e23, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
    math.nan, -math.nan, math.inf, -math.inf, 1j,
]  # fmt: skip
SHAPES: list[Any] = [
    None, [], {}, (), [None], [[]], {"": ""}, {"a": {}}, [[], {}], nested(90), nested(99), nested(200),
    nested(1000), nested(20_000), nested(90, dict), nested(200, dict), *endless(),
    {1: 2}, {None: 1}, {True: 1}, {1.5: 1}, {(1, 2): 1}, {b"a": 1}, {"\0": 1}, {"\ud800": 1}, {"a": {2: 3}},
    {"a" * 10_000: 1}, {"$ref": "#"}, {"__proto__": 1}, {"py/object": "os.system"}, {"a": 1, "A": 2},
    dict.fromkeys(map(str, range(5_000))), list(range(20_000)),
]  # fmt: skip
THINGS: list[Any] = [
    object(), Wordless(), [Wordless()], {"a": Wordless()}, len, lambda: None, int, type, re, ..., NotImplemented,
    b"", b"\0", b"\xff\xfe", bytearray(b"a"), memoryview(b"a"), array.array("i", [1]), range(3),
    iter([1]), (n for n in "ab"), {1, 2}, frozenset({"a"}), {"\ud800"}, collections.deque([1]),
    collections.Counter("aab"), collections.OrderedDict(b=1, a=2), collections.ChainMap({"a": 1}),
    decimal.Decimal("1.10"), decimal.Decimal("NaN"), decimal.Decimal("Infinity"), decimal.Decimal("1e-400"),
    fractions.Fraction(1, 3), dt.datetime.min, dt.datetime.max, dt.date.max, dt.time.max,
    dt.timedelta.max, dt.timedelta.min, dt.UTC, uuid.UUID(int=0), pathlib.PurePosixPath("/a\0b"),
    ValueError("\0"), ExceptionGroup("\ud800", [KeyError()]), re.compile("a"), slice(1), __builtins__,
]  # fmt: skip

LISTED: list[Any] = [
    *CONTROLS, *NO_TEXT, *ODD_TEXT, *HOSTILE_TEXT, *LONG_TEXT, *NUMBERS, *SHAPES, *THINGS,
]  # fmt: skip
