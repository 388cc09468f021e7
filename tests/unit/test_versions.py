"""Names that functions had, versions of their arguments, and what a job says of its own."""

import sys
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from chancy import Chancy, Job, QueuedJob, State, job
from chancy_core import codec, registry, versions
from chancy_core.errors import InvalidJob, InvalidValue, UnknownFunction
from chancy_core.fitting import Fitting
from chancy_core.hooks import Plugin
from chancy_core.hookspecs import hookimpl
from chancy_core.job import Failure
from chancy_core.outcome import refused_by, refuser
from chancy_core.plugins import Plugins
from chancy_core.queue import Queue
from chancy_core.statement import Names
from chancy_core.store import rows, statements
from chancy_plugins.retry import Retry, constant

pytestmark = pytest.mark.usefixtures("own_registry")


def send(to: str) -> None: ...
def other(to: str) -> None: ...


def renamed(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"to": arguments["address"]}


def as_it_was(arguments: dict[str, Any]) -> dict[str, Any]:
    return arguments


# -- names -----------------------------------------------------------------------------------------


def test_a_function_is_found_by_each_of_its_names_and_pushed_under_one() -> None:
    made = job(name="acme.send", aliases=["acme.mail", "acme.post"], queue="mail")(send)
    assert made.aliases == ("acme.mail", "acme.post")
    for name in ("acme.send", *made.aliases):
        assert registry.lookup(name) is registry.find(name) is made
        assert registry.canonical(name) == "acme.send"
    assert registry.registered() == ["acme.send"]
    assert registry.canonical("acme.nobody") == "acme.nobody"
    asked = (made.bind("ada"), Job.from_func(made), made.options(priority=1).bind("ada"))
    assert {one.func for one in asked} == {"acme.send"}
    assert job(name="acme.other", aliases="acme.one")(other).aliases == ("acme.one",)


def test_the_arguments_of_a_job_under_a_former_name_are_checked_like_the_others() -> None:
    job(name="acme.send", aliases=["acme.mail"])(send)
    registry.check_call(Job("acme.mail", kwargs={"to": "ada"}))
    with pytest.raises(InvalidJob, match="'to' is missing, it has no argument 'address'"):
        registry.check_call(Job("acme.mail", kwargs={"address": "ada"}))


@pytest.mark.parametrize(
    ("name", "aliases", "taken"),
    [
        ("acme.new", ["acme.send"], "acme.send"),
        ("acme.new", ["acme.free", "acme.mail"], "acme.mail"),
        ("acme.mail", [], "acme.mail"),
        ("acme.mail", ["acme.free"], "acme.mail"),
    ],
)
def test_a_name_belongs_to_one_function_and_both_are_named(
    name: str, aliases: list[str], taken: str
) -> None:
    job(name="acme.send", aliases=["acme.mail"])(send)
    before = dict(registry._functions)
    with pytest.raises(InvalidJob) as caught:
        job(name=name, aliases=aliases)(other)
    message = str(caught.value)
    assert message.startswith(
        f"two functions want to be the job {taken!r}, 'acme.send' and {name!r}: "
    )
    assert message.count("test_versions.py:") == 2
    assert registry._functions == before


def test_two_functions_of_one_place_cannot_share_an_alias() -> None:
    def made(name: str) -> None:
        @job(name=name, aliases=["acme.old"])
        def one() -> None: ...

    made("acme.a")
    made("acme.a")  # as when its module is loaded once more
    with pytest.raises(InvalidJob, match=r"'acme\.old', 'acme\.a' and 'acme\.b'"):
        made("acme.b")


def test_an_alias_that_is_taken_away_is_gone_when_the_module_is_loaded_again() -> None:
    job(name="acme.send", aliases=["acme.mail", "acme.post"])(send)
    job(name="acme.send", aliases=["acme.post"])(send)
    assert sorted(registry._functions) == ["acme.post", "acme.send"]


@pytest.mark.parametrize("wrong", ["", 7, "a\0b", "x" * 1001])
def test_an_alias_that_could_be_no_name_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidJob, match="func"):
        job(name="acme.send", aliases=[wrong])(send)


def test_the_name_itself_is_no_alias() -> None:
    with pytest.raises(InvalidJob, match=r"aliases are its former names, and not 'acme\.send'"):
        job(name="acme.send", aliases=["acme.send"])(send)


def test_what_a_module_offers_takes_no_name_that_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "offering.py").write_text("def send(): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    job(name="acme.send", aliases=["offering.send"])(send)
    with pytest.raises(InvalidJob, match=r"'offering\.send', 'acme\.send' and 'offering\.send'"):
        registry.import_jobs(["offering"])


def test_what_a_function_has_of_its_own_is_not_taken_for_ours() -> None:
    def odd() -> None: ...

    odd.version = 7  # type: ignore[attr-defined]
    odd.aliases = ["x"]  # type: ignore[attr-defined]
    made = job(name="acme.odd")(odd)
    assert (made.version, made.aliases, made.__name__) == (1, (), "odd")


def test_a_retry_policy_is_found_by_the_name_in_the_row_and_then_by_the_present_one() -> None:
    job(name="acme.send", aliases=["acme.mail", "acme.post"])(send)
    plugin = Retry(functions={"acme.send": constant(1), "acme.post": constant(2)})
    found = {name: plugin.policy(row(name)) for name in ("acme.send", "acme.mail", "acme.post")}
    assert found == {
        "acme.send": constant(1),
        "acme.mail": constant(1),
        "acme.post": constant(2),
    }


def row(func: str, **changes: Any) -> QueuedJob:
    return QueuedJob(func, id=uuid4(), state=State.RUNNING, created_at=datetime.now(UTC), **changes)


def test_an_alias_is_a_name_and_nothing_is_looked_up_by_it() -> None:
    made = job(name="acme.send", aliases=["os.system", "acme.mail"])(send)
    before = set(sys.modules)
    assert registry.lookup("os.system") is made
    for name in ("os.popen", "os.system.x", "acme.mail.send", "acme", "acme.send.func", ""):
        with pytest.raises(UnknownFunction):
            registry.lookup(name)
    assert set(sys.modules) == before


# -- versions --------------------------------------------------------------------------------------


def test_a_job_has_the_version_of_its_function_whatever_else_is_changed() -> None:
    made = job(name="acme.send", version=2, upcasters={1: renamed}, meta={"a": 1})(send)
    assert made.bind("ada").version == made.version == 2
    for asked in (
        made.bind("ada"),
        made.options(meta={"b": 2}).bind("ada"),
        made.bind("ada").with_meta({}).options(queue="mail").with_kwargs(to="eve"),
        Job.from_func(made, meta={}).with_kwargs(to="ada"),
        Job.unpack(made.bind("ada").pack()),
    ):
        assert asked.version == 2
        assert "arguments_version" not in asked.meta
    assert Job("acme.send").version == 1


def test_the_version_travels_in_the_meta() -> None:
    job_ = Job("f", kwargs={"a": 1}, meta={"tenant": 7}, version=3)
    assert job_.pack()["meta"] == {"tenant": 7, "arguments_version": 3}
    assert "version" not in job_.pack()
    assert Job("f", meta={"arguments_version": 3}) == Job("f", version=3)
    assert Job.unpack({"func": "f", "meta": {"arguments_version": 3}}) == Job("f", version=3)
    # The meta of a row may be copied: what a job was made with holds.
    assert Job("f", version=2).with_meta({"arguments_version": 9, "a": 1}) == Job(
        "f", version=2, meta={"a": 1}
    )
    assert Job("f", meta={"a": 1}).pack()["meta"] == {"a": 1}


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True, None, 32_768])
def test_a_version_that_is_none_is_refused(wrong: Any) -> None:
    for make in (
        lambda: Job("f", version=wrong),
        lambda: Job("f", meta={"arguments_version": wrong}),
        lambda: job(name="acme.send", version=wrong)(send),
    ):
        with pytest.raises(InvalidJob, match="version must be a whole number from 1 to 32,767"):
            make()
    with pytest.raises(InvalidValue, match=r"meta\.arguments_version"):
        versions.read({"arguments_version": wrong})


@pytest.mark.parametrize(
    ("version", "upcasters", "says"),
    [
        (2, {}, "version 2 needs an upcaster from each version before it.*none from 1"),
        (4, {2: as_it_was}, "there is none from 1, 3"),
        (2, {1: renamed, 2: renamed}, "an upcaster from 2, which is no version before 2"),
        (1, {0: renamed}, "an upcaster from 0"),
        (2, {"1": renamed}, "an upcaster from '1'"),
        (2, {True: renamed}, "an upcaster from True"),
        (2, {1: "renamed"}, "from version 1 must be a plain function"),
        (2, [renamed], "upcasters must be a mapping"),
    ],
)
def test_a_chain_with_a_gap_is_refused_where_it_is_made(
    version: int, upcasters: Any, says: str
) -> None:
    with pytest.raises(InvalidJob, match=rf"@job of 'acme\.send': .*{says}"):
        job(name="acme.send", version=version, upcasters=upcasters)(send)
    assert registry._functions == {}


def test_an_upcaster_is_no_coroutine_function() -> None:
    async def wait(arguments: dict[str, Any]) -> dict[str, Any]:
        return arguments

    with pytest.raises(InvalidJob, match="must be a plain function"):
        job(name="acme.send", version=2, upcasters={1: wait})(send)  # type: ignore[dict-item]


def test_what_can_be_known_of_older_arguments_is_known_at_the_push() -> None:
    job(name="acme.send", version=2, upcasters={1: renamed})(send)
    registry.check_call(Job("acme.send", kwargs={"address": "ada"}))
    registry.check_call(Job("acme.send", kwargs={"to": "ada"}, version=2))
    with pytest.raises(InvalidValue, match=r"from version 1 to 2 raised KeyError: 'address'"):
        registry.check_call(Job("acme.send", kwargs={"to": "ada"}))
    with pytest.raises(InvalidJob, match="'to' is missing"):
        registry.check_call(Job("acme.send", kwargs={"address": "ada"}, version=2))
    # What newer code takes is for newer code to say.
    registry.check_call(Job("acme.send", kwargs={"whatever": 1}, version=3))


def test_what_is_lifted_is_a_copy() -> None:
    def spoil(arguments: dict[str, Any]) -> dict[str, Any]:
        arguments["list"].append("spoilt")
        return {"to": arguments.pop("list")}

    made = job(name="acme.send", version=2, upcasters={1: spoil})(send)
    given = {"list": ["a"]}
    assert made.lift(given, 1) == {"to": ["a", "spoilt"]}
    assert given == {"list": ["a"]}
    assert made.lift(given, 2) is given
    with pytest.raises(UnknownFunction, match=r"acme\.send takes arguments up to version 2 here"):
        made.lift(given, 3)


def test_the_function_of_a_job_keeps_its_version_in_whatever_it_makes_of_the_meta() -> None:
    assert versions.kept('{"a":1}', 1) == '{"a":1}'
    assert versions.kept('{"a":1}', 2) == '{"a":1,"arguments_version":2}'
    assert versions.kept('{"arguments_version":9}', 2) == '{"arguments_version":2}'
    assert versions.kept('{"arguments_version":9}', 1) == "{}"


def test_a_plugin_that_passes_the_meta_of_a_row_on_changes_no_version() -> None:
    class Passing:
        @hookimpl
        def chancy_job_meta(self, job: Job) -> dict[str, Any]:
            return {"parent": 7, "arguments_version": 9}

    plugins = Plugins(Chancy("host=nowhere"))
    plugins.register(Plugin("passing", "the tests", Passing()))
    first, second = plugins.with_meta([Job("f"), Job("f", version=2)])
    assert (first.version, first.meta) == (1, {"parent": 7})
    assert (second.version, second.meta) == (2, {"parent": 7})


@pytest.mark.parametrize("count", [1, 3, 60])
def test_each_way_to_store_a_job_writes_its_version(count: int) -> None:
    jobs = {uuid4(): Job("f", version=2) for _ in range(count)}
    if count >= 50:
        copy = statements.push_many(Names(), jobs, meanwhile=False)
        assert "".join(copy.pieces).count('{"arguments_version":2}') == count
        return
    params = statements.push(Names(), jobs).params
    assert codec.decode(params["meta"] if count == 1 else params["meta"][0]) == {
        "arguments_version": 2
    }


def test_a_row_gives_its_version_back_and_nonsense_is_unreadable() -> None:
    now = datetime.now(UTC)

    def read(meta: str) -> rows.Claimed:
        columns: list[Any] = [uuid4(), "q", "f", "{}", meta, None, "running", 0, 1, 0, 1, 0, None]
        columns += [False, False, True, None, None, False, now, now, now, None, 5]
        return rows.claimed([columns])[0]

    job_ = read('{"a":1,"arguments_version":3}').job
    assert (job_.version, job_.meta) == (3, {"a": 1})
    assert (read('{"a":1}').job.version, read("{}").job.version) == (1, 1)
    damaged = read('{"arguments_version":"secret"}')
    assert damaged.unreadable is not None
    assert "meta.arguments_version" in damaged.unreadable.message
    assert "secret" not in damaged.unreadable.message


def test_what_newer_code_needs_of_an_executor_is_not_judged_by_older() -> None:
    fitting = Fitting()
    fitting.learn(Queue("q", executor="async"))
    job(name="acme.send")(send)  # a plain function, which async cannot run
    assert fitting._refusal(Job("acme.send", queue="q")) is not None
    assert fitting._refusal(Job("acme.send", queue="q", version=2)) is None


@pytest.mark.parametrize("name", ["alpha", "a]b", "ü"])
def test_a_refusal_says_whose_it_is(name: str) -> None:
    failure = Failure(attempt=0, kind="unknown-function", type="UnknownFunction", message="no")
    told = refused_by(failure, name).message
    assert told == f"no [worker {name}]"
    assert refuser(told) == name
    assert refuser("no") is None
