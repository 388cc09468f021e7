"""A registered function as a maker of jobs, and which functions can be one."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from chancy import INJECTED, Job, JobFunction, QueuedJob, Reference, job
from chancy_core import registry
from chancy_core.errors import InvalidJob

pytestmark = pytest.mark.usefixtures("own_registry")

ID = UUID(int=7)


class Desk:
    """What stores jobs, and only remembers them."""

    def __init__(self) -> None:
        self.pushed: list[Job] = []

    async def push(self, job: Job, /) -> Reference:
        return self.sync_push(job)

    def sync_push(self, job: Job, /) -> Reference:
        self.pushed.append(job)
        return Reference(ID)


def make(func: Callable[..., Any], **options: Any) -> JobFunction[..., Any]:
    return job(name="acme.f", **options)(func)


def plain(a: int, b: int = 2, *, me: QueuedJob = INJECTED) -> Any:
    return me


async def test_it_is_pushed_in_one_go(anyio_backend: str) -> None:
    desk, made = Desk(), make(plain, queue="mail")
    assert await made.push(desk, 1) == Reference(ID)
    assert made.sync_push(desk, a=3, b=4) == Reference(ID)
    assert desk.pushed == [made.bind(1), made.bind(3, 4)]
    assert desk.pushed[0] == Job("acme.f", kwargs={"a": 1}, queue="mail")
    with pytest.raises(InvalidJob, match=r"acme\.f"):
        await made.push(desk)


async def test_arguments_may_be_called_as_ours_are(anyio_backend: str) -> None:
    def func(self: int, chancy: int, func: int, job: int) -> None: ...

    desk, names = Desk(), {"self": 1, "chancy": 2, "func": 3, "job": 4}
    made = make(func)
    await made.push(desk, **names)
    made.sync_push(desk, **names)
    assert [made.bind(**names), *(pushed for pushed in desk.pushed)] == [desk.pushed[0]] * 3
    assert desk.pushed[0].kwargs == names
    assert made(**names) is None


def test_called_directly_nothing_is_injected() -> None:
    made = make(plain)
    assert made(1) is INJECTED
    assert repr(INJECTED) == "<injected when it runs as a job>"
    assert made(1, me=5) == 5


def test_what_is_injected_is_never_given() -> None:
    made = make(plain)
    for me in (None, INJECTED):
        with pytest.raises(InvalidJob, match=r"'acme.f': 'me' is given by the worker"):
            made.bind(1, me=me)
    with pytest.raises(InvalidJob, match="'me' is given by the worker"):
        registry.check_call(Job("acme.f", kwargs={"a": 1, "me": None}))

    def loose(*, me: QueuedJob = INJECTED, **rest: Any) -> None: ...

    made = job(name="acme.loose")(loose)
    assert made.bind(you=1).kwargs == {"you": 1}
    with pytest.raises(InvalidJob, match="'me' is given"):
        made.bind(you=1, me=1)
    with pytest.raises(InvalidJob, match="'me' is given"):
        registry.check_call(Job("acme.loose", kwargs={"you": 1, "me": 1}))


def test_a_call_is_compared_with_the_signature() -> None:
    make(plain)
    for right in ({"a": 1}, {"a": 1, "b": None}):
        registry.check_call(Job("acme.f", kwargs=right))
    with pytest.raises(InvalidJob) as caught:
        registry.check_call(Job("acme.f", kwargs={"b": 1, "c": 2}))
    assert str(caught.value) == (
        "job 'acme.f': 'a' is missing, it has no argument 'c'; it takes (a: int, b: int = 2, *, "
        "me: chancy_core.job.QueuedJob = <injected when it runs as a job>) -> Any"
    )
    registry.check_call(Job("acme.nobody.knows", kwargs={"whatever": 1}))


def test_a_call_of_any_names_is_compared_with_those_it_needs() -> None:
    def loose(a: int, **rest: Any) -> None: ...

    make(loose)
    registry.check_call(Job("acme.f", kwargs={"a": 1, "z": 2}))
    with pytest.raises(InvalidJob, match="'a' is missing; it takes"):
        registry.check_call(Job("acme.f", kwargs={"z": 2}))


def test_options_are_of_the_same_function() -> None:
    made = make(plain, queue="mail")
    twin = made.options(priority=5)
    assert (twin.bind(1).queue, twin.bind(1).priority) == ("mail", 5)
    assert (twin.func, twin.name, repr(twin)) == (made.func, made.name, repr(made))
    with pytest.raises(InvalidJob, match="'me' is given"):
        twin.bind(1, me=1)


def test_a_misspelt_option_is_named_beside_the_right_ones() -> None:
    wrong: Any = {"quue": "mail"}
    made = make(plain)
    for call in (
        lambda: job(**wrong)(plain),
        lambda: made.options(**wrong),
        lambda: made.bind(1).options(**wrong),
        lambda: Job.from_func(made, **wrong),
    ):
        with pytest.raises(InvalidJob, match=r"acme\.f|plain.*'quue'.*queue, priority, max_att"):
            call()


def test_a_job_is_made_from_a_function() -> None:
    made = make(plain, queue="mail", priority=1)
    assert Job.from_func(made, priority=2) == Job("acme.f", queue="mail", priority=2)
    for wrong in (plain, None, "acme.f"):
        with pytest.raises(InvalidJob, match="decorate it with @job"):
            Job.from_func(wrong)  # type: ignore[arg-type]


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


def positional(a: int, /) -> None: ...
def many(*args: int) -> None: ...
def injected_positionally(a: int, me: QueuedJob = INJECTED) -> None: ...
def injected_twice(*, me: QueuedJob = INJECTED, you: QueuedJob = INJECTED) -> None: ...


class Mailer:
    def send(self, to: str) -> None: ...

    @classmethod
    def make(cls) -> None: ...

    @staticmethod
    @job(name="acme.static")
    def static(to: str) -> str:
        return to


@pytest.mark.parametrize(
    ("func", "why"),
    [
        (generator, "generator"),
        (async_generator, "generator"),
        (positional, "by name"),
        (many, "by name"),
        (injected_positionally, r"keyword-only: write `\*, me: QueuedJob = INJECTED`"),
        (injected_twice, "not me and you"),
        (Mailer.send, "a method"),
        (Mailer.__dict__["make"], "functions that are no jobs"),
        (Mailer, "functions that are no jobs"),
        (7, "functions that are no jobs"),
        (Mailer.static, "functions that are no jobs"),
    ],
)
def test_what_cannot_be_a_job_is_refused_where_it_is_decorated(func: Any, why: str) -> None:
    with pytest.raises(InvalidJob, match=why):
        make(func)
    assert registry._functions == {}


def test_what_has_no_name_needs_one() -> None:
    with pytest.raises(InvalidJob, match=r"no name of its own: give it one by @job\(name="):
        job(partial(plain, b=3))
    assert make(partial(plain, b=3)).bind(1).kwargs == {"a": 1}


def test_a_static_method_is_a_function() -> None:
    assert Mailer.static.bind(to="x").func == "acme.static"
    assert Mailer().static("x") == "x"
