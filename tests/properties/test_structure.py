"""Arguments come back as the annotations of the function promise, also where these are strings."""

import dataclasses
import enum
from collections import deque
from collections.abc import Collection, Iterable, Mapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from pathlib import PurePosixPath as Unknown
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from chancy_core import codec
from chancy_core.errors import InvalidValue

if TYPE_CHECKING:
    from nowhere import Missing  # type: ignore[import-not-found] # as a type checker knows it


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


class Shape(enum.StrEnum):
    ROUND = "round"


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass(frozen=True)
class Address:
    street: str
    number: int | None = None


@attrs.frozen
class Person:
    name: str
    born: date
    homes: tuple[Address, ...] = ()
    colours: Mapping[str, Colour] = {}


def annotated(
    *,
    uuid: UUID,
    day: date,
    clock: time,
    when: datetime,
    span: timedelta,
    price: Decimal,
    colour: Colour,
    shape: Shape,
    point: Point,
    path: Path,
    data: bytes,
    person: Person,
    address: Address | None,
    ids: set[UUID],
    bare: object,
    plain: Any,
    number: float,
    text: str,
) -> "Missing": ...


def in_words(
    *,
    uuid: "UUID",
    day: "date",
    clock: "time",
    when: "datetime",
    span: "timedelta",
    price: "Decimal",
    colour: "Colour",
    shape: "Shape",
    point: "Point",
    path: "Path",
    data: "bytes",
    person: "Person",
    address: "Address | None",
    ids: "set[UUID]",
    bare: "object",
    plain: "Any",
    number: "float",
    text: "str",
) -> "Missing": ...


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
COLOURS = st.sampled_from(Colour)
ADDRESSES = st.builds(Address, TEXT, st.none() | st.integers())
ARGUMENTS = st.fixed_dictionaries(
    {
        "uuid": st.uuids(),
        "day": st.dates(),
        "clock": st.times(),
        "when": st.datetimes() | st.datetimes(timezones=st.just(UTC)),
        "span": st.timedeltas(timedelta(days=-50_000), timedelta(days=50_000)),
        "price": st.decimals(allow_nan=False),
        "colour": COLOURS,
        "shape": st.just(Shape.ROUND),
        "point": st.builds(Point, st.integers(), st.integers()),
        "path": TEXT.map(Path),
        "data": st.binary(),
        "person": st.builds(
            Person,
            TEXT,
            st.dates(),
            st.lists(ADDRESSES, max_size=3).map(tuple),
            st.dictionaries(TEXT, COLOURS, max_size=3),
        ),
        "address": st.none() | ADDRESSES,
        "ids": st.sets(st.uuids(), max_size=3),
        "bare": st.integers() | TEXT,
        "plain": st.integers() | TEXT,
        "number": st.floats(allow_nan=False, allow_infinity=False),
        "text": TEXT,
    }
)


@pytest.mark.parametrize("func", [annotated, in_words])
@given(arguments=ARGUMENTS)
def test_arguments_come_back_as_they_were(func: Any, arguments: dict[str, Any]) -> None:
    text = codec.encode(arguments, "arguments")
    back = codec.structure(func, codec.as_object(text))
    assert back == arguments
    assert {n: type(v) for n, v in back.items() if n != "number"} == {
        n: type(v) for n, v in arguments.items() if n != "number"
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("uuid", "no"),
        ("uuid", 7),
        ("day", "2026-13-01"),
        ("colour", "green"),
        ("price", "dear"),
        ("person", {"name": "Ada"}),
        ("person", {"name": "Ada", "born": "2026-01-01", "shoe": 38}),
        ("ids", ["no"]),
        ("point", None),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name: str, value: Any) -> None:
    for func in (annotated, in_words):
        with pytest.raises(InvalidValue, match=f"argument {name}"):
            codec.structure(func, {"text": "fine", name: value})


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (int, 1, [1.5, "1", True, None]),
        (float, 1, ["1", True]),
        (str, "1", [1, None]),
        (bool, True, [1, "true"]),
    ],
)
def test_nothing_is_bent_into_shape(kind: Any, good: Any, bad: list[Any]) -> None:
    assert codec.structured("it", [good], list[kind]) == [good]
    for value in bad:
        with pytest.raises(InvalidValue, match=f"must be of type {kind.__name__}, not "):
            codec.structured("it", [value], list[kind])


@pytest.mark.parametrize(
    "kind",
    [
        *(list, tuple, list[str], tuple[str, ...], tuple[str, str], set[str], frozenset[str]),
        *(Sequence[str], MutableSequence[str], AbstractSet[str], Iterable[str], Collection[str]),
        *(deque[str], list[str] | None, Annotated[list[str], "of letters"]),
    ],
)
@pytest.mark.parametrize("value", ["ab", {"a": 1, "b": 2}, 7])
def test_neither_a_text_nor_an_object_is_a_list(kind: Any, value: Any) -> None:
    assert list(codec.structured("it", ["ab", "cd"], kind)) in (["ab", "cd"], ["cd", "ab"])
    for wrong, wanted in ((value, kind), ([value], list[kind]), ({"x": value}, dict[str, kind])):
        with pytest.raises(InvalidValue, match=f"must be a list, not {type(value).__name__}"):
            codec.structured("it", wrong, wanted)


def test_an_annotation_nobody_can_read_spoils_its_own_argument_only() -> None:
    def func(missing: "Missing", when: datetime, other: "list[UUID]" = ()) -> "Missing": ...  # type: ignore[assignment]

    fine = codec.structure(func, {"when": "2026-01-01"})
    assert fine == {"when": datetime(2026, 1, 1)}  # noqa: DTZ001
    with pytest.raises(InvalidValue, match=r"argument missing: its annotation 'Missing'.*"):
        codec.structure(func, {"missing": 1, "when": "2026-01-01"})


def test_keyword_arguments_have_the_annotation_of_them_all() -> None:
    def func(count: int, **days: date) -> None: ...

    day = "2026-01-02"
    back = codec.structure(func, {"count": 3, "first": day, "days": day})
    assert back == {"count": 3, "first": date(2026, 1, 2), "days": date(2026, 1, 2)}


def test_an_iterable_comes_as_a_list() -> None:
    def func(ids: Iterable[UUID]) -> None: ...

    id_ = UUID(int=7)
    assert codec.structure(func, {"ids": [str(id_)]}) == {"ids": [id_]}


def test_what_no_annotation_speaks_of_stays_as_it_is() -> None:
    def func(a, b: int, c: Any):  # type: ignore[no-untyped-def]
        ...

    given = {"a": [1], "b": "not a number", "c": None, "d": {}}
    assert codec.structure(func, given) == given


def test_a_type_that_nobody_can_make_is_refused_by_name() -> None:
    def func(where: Unknown) -> None: ...

    with pytest.raises(InvalidValue, match="argument where"):
        codec.structure(func, {"where": "x"})


@pytest.mark.parametrize("text", ["[]", "null", '"a"', "{", ""])
def test_arguments_are_an_object(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        codec.as_object(text)


class Item(BaseModel):
    """Strict, and with one name for reading and another for writing."""

    model_config = ConfigDict(strict=True)

    id: UUID
    when: datetime
    count: int = Field(gt=0, validation_alias="read", serialization_alias="written")
    tags: tuple[str, ...] = ()


class Order(BaseModel):
    items: list[Item]


@dataclasses.dataclass
class Parcel:
    order: Order | None


def ordered(order: Order, parcel: "Parcel", items: "list[Item]", item: Item | None) -> None: ...


ITEM = Item(id=UUID(int=3), when=datetime(2026, 1, 2, tzinfo=UTC), read=3, tags=("a",))


def test_pydantic_models_come_back_as_they_were() -> None:
    order = Order(items=[ITEM])
    arguments = {"order": order, "parcel": Parcel(order), "items": [ITEM], "item": None}
    text = codec.encode(arguments, "arguments")
    assert codec.decode(text)["order"] == {
        "items": [
            {"id": str(UUID(int=3)), "when": "2026-01-02T00:00:00Z", "count": 3, "tags": ["a"]}
        ]
    }
    back = codec.structure(ordered, codec.as_object(text))
    assert back == arguments
    assert type(back["order"].items[0].tags) is tuple


def test_a_model_is_read_by_its_alias_too() -> None:
    item = {"id": str(UUID(int=3)), "when": "2026-01-02T00:00:00Z", "read": 3, "tags": ["a"]}
    assert codec.structure(ordered, {"item": item}) == {"item": ITEM}


def test_what_a_model_refuses_is_said_in_its_words() -> None:
    with pytest.raises(InvalidValue, match=r"items\.0\.id: .*valid UUID.*@ argument order"):
        codec.structure(ordered, {"order": {"items": [{"id": "x"}]}})
    with pytest.raises(InvalidValue, match=r"items: Field required @ argument parcel\.order"):
        codec.structure(ordered, {"parcel": {"order": {}}})


@dataclasses.dataclass
class Amount:
    cents: int

    def __post_init__(self) -> None:
        if self.cents < 0:
            raise ValueError("an amount is never below zero")


def test_what_a_class_refuses_is_said_in_its_words() -> None:
    def func(amount: Amount) -> None: ...

    with pytest.raises(InvalidValue, match="an amount is never below zero @ argument amount"):
        codec.structure(func, {"amount": {"cents": -1}})
    with pytest.raises(InvalidValue, match=r"of type int, not str @ argument amount\.cents"):
        codec.structure(func, {"amount": {"cents": "x"}})


def test_a_tuple_comes_back_as_one_where_it_is_annotated_only() -> None:
    def func(pair: tuple[int, str], row: tuple[int, ...], other: Any, bare: list[int]) -> None: ...

    given = {"pair": (1, "a"), "row": (1, 2), "other": (1, (2,)), "bare": (1,)}
    back = codec.structure(func, codec.as_object(codec.encode(given, "arguments")))
    assert back == {"pair": (1, "a"), "row": (1, 2), "other": [1, [2]], "bare": [1]}


@pytest.mark.parametrize("key", [1, None, (1, 2), UUID(int=1)])
def test_keys_are_strings(key: Any) -> None:
    with pytest.raises(InvalidValue, match=r"arguments\.a: a key is .*strings only"):
        codec.encode({"a": {key: 1}}, "arguments")
