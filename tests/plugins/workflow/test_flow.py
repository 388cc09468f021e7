"""Workflows as they are written down: what is refused, and how they are drawn."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chancy import Chancy, Job
from chancy_core.errors import InvalidValue
from chancy_plugins.workflow import (
    CircularDependencyError,
    EmptyWorkflowError,
    InvalidDependencyError,
    InvalidWorkflow,
    Sequence,
    Workflow,
    record,
)
from chancy_plugins.workflow import graph as graphs
from chancy_plugins.workflow.picture import Drawn, dot, mermaid
from tests.plugins.workflow.flows import add, give

JOB = Job("f")


def test_steps_that_wait_for_each_other_are_refused_with_the_way():
    flow = Workflow("round")
    flow.add("start", JOB)
    flow.add("a", JOB, after=["c", "start"])
    flow.add("b", JOB, after="a")
    flow.add("c", JOB, after="b")
    flow.add("end", JOB, after="c")
    with pytest.raises(CircularDependencyError) as said:
        flow.validate()
    way = str(said.value).rpartition(": ")[2].split(" → ")
    assert way[0] == way[-1]
    assert sorted(way[:-1]) == ["a", "b", "c"]
    pairs = {("a", "c"), ("b", "a"), ("c", "b")}
    assert set(pairwise(way)) == pairs


def test_a_step_that_waits_for_itself_or_for_its_group():
    flow = Workflow("self")
    flow.add("a", JOB, after="a")
    with pytest.raises(CircularDependencyError, match="a → a"):
        flow.validate()
    flow = Workflow("group")
    flow.group("g", [JOB], after="g")
    with pytest.raises(CircularDependencyError, match="g"):
        flow.validate()


def test_a_long_way_round_is_cut():
    flow = Workflow("long")
    for n in range(40):
        flow.add(f"s{n}", JOB, after=f"s{(n + 1) % 40}")
    with pytest.raises(CircularDependencyError, match=" → … → "):
        flow.validate()


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=14))
def test_what_has_an_end_is_taken_and_what_has_none_refused(pairs: list[tuple[int, int]]):
    """Beside the definition: a step can be reached from itself, or not."""
    after: dict[int, set[int]] = {n: set() for n in range(8)}
    for step, before in pairs:
        after[step].add(before)
    flow = Workflow("random")
    for step, several in after.items():
        flow.add(f"s{step}", JOB, after=[f"s{one}" for one in several])
    reached = {n: set(several) for n, several in after.items()}
    for _ in range(8):
        for several in reached.values():
            several |= {further for one in several for further in reached[one]}
    if any(n in several for n, several in reached.items()):
        with pytest.raises(CircularDependencyError):
            flow.validate()
    else:
        flow.validate()


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda flow: None, EmptyWorkflowError, "workflow 'w' has no steps"),
        (lambda flow: flow.group("g", []), EmptyWorkflowError, "the group 'g' has no jobs"),
        (
            lambda flow: flow.add("a", JOB, after="b"),
            InvalidDependencyError,
            "step 'a' waits for 'b', which is no step of it",
        ),
        (lambda flow: [flow.add("a", JOB), flow.add("a", JOB)], InvalidWorkflow, "a step 'a'"),
        (lambda flow: flow.add("", JOB), InvalidWorkflow, "it must have 1 to 200 bytes"),
        (lambda flow: flow.add("x" * 201, JOB), InvalidWorkflow, "it must have 1 to 200 bytes"),
        (lambda flow: flow.add("a\0", JOB), InvalidWorkflow, "no NUL"),
        (lambda flow: flow.add("a[0]", JOB), InvalidWorkflow, r"names with \[0\]"),
        (lambda flow: flow.add(7, JOB), InvalidWorkflow, "it must be a text"),
        (lambda flow: flow.add("a", "f"), InvalidWorkflow, "give a job, such as"),
        (lambda flow: flow.group("g", JOB), InvalidWorkflow, "give several jobs"),
        (lambda flow: flow.map("m", JOB), InvalidWorkflow, "here there are 0"),
        (
            lambda flow: flow.map(
                "m", add.bind(left=flow.add("a", JOB).each, right=flow["a"].each)
            ),
            InvalidWorkflow,
            "here there are 2",
        ),
        (
            lambda flow: flow.add("b", give.bind(value=flow.add("a", JOB).each)),
            InvalidWorkflow,
            "its value cannot be each element of a list; use map",
        ),
        (
            lambda flow: flow.add("b", give.bind(value={"in": flow.add("a", JOB).result})),
            InvalidWorkflow,
            "an argument of its own, or one of a list of nothing but results",
        ),
        (
            lambda flow: flow.add("b", give.bind(value=[1, flow.add("a", JOB).result])),
            InvalidWorkflow,
            "one of a list of nothing but results",
        ),
        (
            lambda flow: flow.add(
                "b", give.bind(value=flow.add("a", JOB.options(keep_result=False)).result)
            ),
            InvalidWorkflow,
            "step 'b' is given the result of 'a', which is not kept",
        ),
        (
            lambda flow: flow.add(
                "b", give.bind(value=flow.group("g", [JOB.options(keep_result=False)]).result)
            ),
            InvalidWorkflow,
            r"the result of 'g\[0\]', which is not kept",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, error: type[Exception], said: str):
    flow = Workflow("w")
    with pytest.raises(error, match=said):  # noqa: PT012 - at once, or when it is checked
        make(flow)
        flow.validate()


def test_too_large_ones_are_refused(monkeypatch: pytest.MonkeyPatch):
    flow = Workflow("large")
    flow.group("g", [JOB] * 5)
    flow.add("a", JOB, after="g")
    flow.validate()
    monkeypatch.setattr(graphs, "EDGES", 5)
    with pytest.raises(InvalidWorkflow, match="wait 6 times for each other, where 5 are allowed"):
        flow.validate()
    monkeypatch.setattr(graphs, "STEPS", 6)
    with pytest.raises(InvalidWorkflow, match="has 7 steps, where 6 are allowed"):
        flow.validate()


def test_a_group_that_is_refused_leaves_nothing():
    flow = Workflow("w")
    flow.add("b", JOB)
    with pytest.raises(InvalidWorkflow):
        flow.group("g", {"a": JOB, "b": JOB})
    assert [step.name for step in flow] == ["b"]
    flow.group("g", {"a": JOB, "c": JOB})
    with pytest.raises(InvalidWorkflow, match="belongs to the group 'g'"):
        del flow["a"]
    del flow["g"]
    assert (len(flow), "a" in flow, "b" in flow) == (1, False, True)
    with pytest.raises(KeyError):
        flow["a"]


def test_what_cannot_be_stored_is_refused_where_it_is_pushed():
    app = Chancy("host=nowhere")
    flow = Workflow("w")
    flow.add("a", give.bind(value=float("nan")))
    with pytest.raises(InvalidValue, match="is no JSON number"):
        record.of_workflow(app, flow)
    flow = Workflow("w")
    flow.add("a", Job("flows.add", kwargs={"left": 1}))
    with pytest.raises(InvalidValue, match="right"):
        record.of_workflow(app, flow)


def test_a_result_cannot_be_pushed_by_itself():
    step = Sequence("w", [give]).append(give)
    with pytest.raises(InvalidValue, match="cannot be stored"):
        Chancy("host=nowhere").pushing([give.bind(value=step.result)])


def test_pictures_have_all_steps_and_ways():
    flow = Workflow("pictures")
    listed = flow.add("list", give)
    made = flow.map("m", add.bind(left=listed.each, right=1))
    flow.group("g", [give, give], after=made)
    assert flow.dot() == (
        'digraph "pictures" {\n'
        "  rankdir=LR;\n"
        '  node [shape=box, style="rounded,filled", fillcolor="#f3f4f6", fontname="sans-serif"];\n'
        '  "list";\n'
        '  "m" [shape=folder];\n'
        '  "g[0]";\n'
        '  "g[1]";\n'
        '  "g" [shape=hexagon];\n'
        '  "list" -> "m";\n'
        '  "m" -> "g[0]";\n'
        '  "m" -> "g[1]";\n'
        '  "g[0]" -> "g";\n'
        '  "g[1]" -> "g";\n'
        "}\n"
    )
    assert flow.mermaid() == (
        "flowchart LR\n"
        '  s0["list"]\n'
        '  s1[["m"]]\n'
        '  s2["g#91;0#93;"]\n'
        '  s3["g#91;1#93;"]\n'
        '  s4{{"g"}}\n'
        "  s0 --> s1\n  s1 --> s2\n  s1 --> s3\n  s2 --> s4\n  s3 --> s4\n"
    )


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_a_name_is_it_is_a_text_of_the_picture(title: str, name: str):
    drawn = [Drawn(name, state="failed")]
    lines = dot(title, drawn, [(name, name)]).split("\n")
    assert len(lines) == 7
    written = lines[3][3 : lines[3].rindex('" [')]
    plain = written.replace("\\\\", "").replace('\\"', "")
    assert '"' not in plain
    assert "\\" not in plain
    shown = mermaid(drawn, [(name, name)]).split("\n")
    assert len(shown) == 6
    assert not set(shown[1][6:-2]) & set('"<>[]{}&`')


def test_a_sequence_is_each_after_the_last():
    flow = Sequence("s", [JOB, JOB, JOB], on_failure=JOB)
    assert flow.graph().waits == {"step_0": (), "step_1": ("step_0",), "step_2": ("step_1",)}
