"""Whatever the chain of versions, a function gets what upcasters make of a job's arguments."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chancy import Job, QueuedJob, State, job
from chancy_core import codec, registry
from chancy_core.errors import InvalidJob, UnknownFunction
from chancy_core.executor import Call, Capability
from tests.properties.test_packing import DATA, TEXT

#: One change of the arguments, as it is made in place.
CHANGES: list[Callable[[dict[str, Any]], object]] = [
    lambda given: given.clear(),
    lambda given: given.update(added=len(given)),
    lambda given: given.pop(min(given), None) if given else None,
    lambda given: given.update({f"{name}+": given.pop(name) for name in sorted(given)}),
    lambda given: given.update(all={**given}),
]


def upcaster(change: Callable[[dict[str, Any]], object], times: int) -> Callable[..., Any]:
    """A step that makes a change, and says which step of how many it was."""

    def lift(given: dict[str, Any]) -> Mapping[str, Any]:
        change(given)
        return {**given, "step": times}

    return lift


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[Callable[..., Any]], int]:
    """The upcasters of a function, and the version of a job."""
    steps = draw(st.lists(st.sampled_from(CHANGES), max_size=6))
    made = [upcaster(change, number) for number, change in enumerate(steps)]
    return made, draw(st.integers(1, len(made) + 2))


@given(chains(), DATA)
def test_the_call_gets_what_the_composed_upcasters_give(
    chain: tuple[list[Callable[..., Any]], int], kwargs: dict[str, Any]
) -> None:
    steps, version = chain
    with patch.object(registry, "_functions", {}):

        @job(
            name="acme.f",
            version=len(steps) + 1,
            upcasters=dict(enumerate(steps, start=1)),
        )
        def f(**given: Any) -> None: ...

        text = codec.encode(kwargs, "arguments")
        stored = QueuedJob(
            "acme.f",
            kwargs=codec.as_object(text),
            version=version,
            id=uuid4(),
            state=State.RUNNING,
            created_at=datetime.now(UTC),
        )
        call = Call(stored, text)
        if version > f.version:
            with pytest.raises(UnknownFunction):
                call.resolve(Capability.SYNC)
            return
        _, arguments = call.resolve(Capability.SYNC)
        expected: Any = codec.as_object(text)
        for step in steps[version - 1 :]:
            expected = step(expected)
        assert arguments == expected
        assert stored.kwargs == codec.as_object(text)
        registry.check_call(Job("acme.f", kwargs=kwargs, version=version))


NAMES = st.sampled_from("abcdefgh")


@given(st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=3)), max_size=6))
def test_names_resolve_uniquely(wanted: list[tuple[str, list[str]]]) -> None:
    owners: dict[str, str] = {}
    with patch.object(registry, "_functions", {}):
        for number, (name, aliases) in enumerate(wanted):
            names = {name, *aliases}
            # Each is at a place of its own: no two are one that is loaded once more.
            space: dict[str, Any] = {}
            exec(compile("def f(): ...", f"place{number}", "exec"), space)
            if name in aliases or names & owners.keys():
                with pytest.raises(InvalidJob):
                    job(name=name, aliases=aliases)(space["f"])
            else:
                job(name=name, aliases=aliases)(space["f"])
                owners |= dict.fromkeys(names, name)
        assert {name: registry.lookup(name).name for name in owners} == owners
        assert {name: registry.canonical(name) for name in "abcdefgh"} == {
            name: owners.get(name, name) for name in "abcdefgh"
        }
        assert registry.registered() == sorted(set(owners.values()))


@given(DATA, TEXT, st.integers(1, 32_767))
def test_a_version_comes_back_whatever_the_meta_is(
    meta: dict[str, Any], key: str, version: int
) -> None:
    asked = Job("acme.f", meta={**meta, key: 1}, version=version)
    again = Job.unpack(asked.pack())
    assert (again.version, again.meta) == (version, asked.meta)
    assert again == asked
