"""How far a job has come: what can be said, what is read, and what is passed on of it."""

import copy
import pickle
import threading
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chancy import QueuedJob
from chancy_core import codec
from chancy_core.errors import ChancyError, InvalidValue
from chancy_core.executor import Call, Capability
from chancy_core.progress import Progress
from chancy_executors.pace import Paced
from tests.attempts import running

NUMBERS = st.integers(0, 2**53) | st.floats(0, 1e300)


@given(NUMBERS, st.none() | NUMBERS.filter(bool), st.text("aé ☃", max_size=200))
def test_what_was_said_is_read(done: float, of: float | None, note: str) -> None:
    said = Progress(done, of, note)
    assert Progress.parse(said.text()) == said
    assert str(said)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"done": -1}, "done"),
        ({"done": nan}, "done"),
        ({"done": 10**400}, "done"),
        ({"done": True}, "done"),
        ({"done": "1"}, "done"),
        ({"done": 1, "of": 0}, "of"),
        ({"done": 1, "of": inf}, "of"),
        ({"done": 1, "note": "x" * 201}, "note"),
        ({"done": 1, "note": "\0"}, "note"),
        ({"done": 1, "note": None}, "note"),
    ],
)
def test_what_is_no_progress_is_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidValue, match=f"progress: {named} is "):
        Progress(**wrong)


@pytest.mark.parametrize("nonsense", [None, 7, "x", [], {}, {"done": 1, "x": 2}, {"done": "1"}])
def test_nonsense_is_read_as_none(nonsense: Any) -> None:
    assert Progress.read(nonsense) is None


@pytest.mark.parametrize("nonsense", [b"", b"{", b"\xff", b"[" * 100_000, b'{"done": "\\u0000"}'])
def test_what_a_child_sends_may_be_anything(nonsense: bytes) -> None:
    assert Progress.parse(nonsense) is None


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (Progress(3), "3"),
        (Progress(3, note="rows"), "3 rows"),
        (Progress(3, 12, "resizing"), "3 of 12 (25%) resizing"),
        (Progress(0.5, 1), "0.5 of 1 (50%)"),
    ],
)
def test_people_read_it_at_a_glance(said: Progress, shown: str) -> None:
    assert str(said) == shown


def injected(heard: list[Progress]) -> tuple[Call, QueuedJob]:
    call = Call(running("look", x=1), '{"x": 1}', hears=heard.append)
    _, arguments = call.resolve(Capability.SYNC | Capability.ASYNC)
    (me,) = (value for value in arguments.values() if isinstance(value, QueuedJob))
    return call, me


def test_a_running_job_tells_of_it_and_has_it_in_its_meta() -> None:
    heard: list[Progress] = []
    call, me = injected(heard)
    me.progress(1, of=4, note="a")
    me.progress(2, of=4)
    last = {"done": 2, "of": 4, "note": ""}
    assert me.meta["progress"] == last
    assert call.progress == Progress(2, 4)
    assert [told.done for told in heard] == [1, 2]
    assert codec.decode(call.changed_meta() or "")["progress"] == last


def test_what_is_no_progress_leaves_the_last_one() -> None:
    _, me = injected([])
    me.progress(1)
    with pytest.raises(InvalidValue):
        me.progress(-1)
    assert me.meta["progress"]["done"] == 1


def test_a_job_that_does_not_run_here_has_none_to_tell() -> None:
    with pytest.raises(ChancyError, match="does not run here"):
        running("look", x=1).progress(1)


def test_a_copy_of_the_injected_job_tells_nobody() -> None:
    heard: list[Progress] = []
    _, me = injected(heard)
    for other in (copy.deepcopy(me), pickle.loads(pickle.dumps(me))):
        assert other == me
        with pytest.raises(ChancyError):
            other.progress(1)
    assert heard == []


class Sent:
    """What was passed on, and a word when there is something more."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.more = threading.Semaphore(0)

    def take(self, text: str) -> None:
        self.texts.append(text)
        self.more.release()

    def next(self) -> None:
        assert self.more.acquire(timeout=10)


def test_the_last_of_what_is_said_too_often_is_passed_on_after_a_pause() -> None:
    sent = Sent()
    paced = Paced[str](sent.take, 0.2)
    for text in ("first", "second", "third"):
        paced.tell(text)
    sent.next()
    assert sent.texts == ["first"]
    sent.next()
    assert sent.texts == ["first", "third"]


def test_what_is_said_after_a_pause_is_passed_on_at_once() -> None:
    sent = Sent()
    paced = Paced[str](sent.take, 0)
    paced.tell("first")
    paced.tell("second")
    assert sent.texts == ["first", "second"]


def test_what_is_forgotten_is_not_passed_on() -> None:
    sent = Sent()
    paced = Paced[str](sent.take, 0.1)
    paced.tell("first")
    paced.tell("second")
    paced.forget()
    assert not sent.more.acquire(timeout=0) or sent.texts == ["first"]
    assert not sent.more.acquire(timeout=0.3)
    paced.tell("third")
    sent.next()
    assert sent.texts == ["first", "third"]
