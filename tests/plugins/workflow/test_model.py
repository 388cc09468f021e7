"""Random workflows, with random failures, retries and crashes in between, beside a plain model."""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from attrs import define, field
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chancy import Chancy, Job, State
from chancy_core import codec
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_core.store.statements import cancel, finish, purge, retry
from chancy_plugins.workflow import Workflow, left, record, statements
from chancy_plugins.workflow.going import FIRST
from chancy_plugins.workflow.statements import Gone
from tests.faults.sizes import size
from tests.postgres.stores import NAMES
from tests.properties.going import Going, going

OFTEN = settings(
    max_examples=size(100, 3_000),
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
DONE = {"succeeded", "excused"}
LIVE = {State.PENDING, State.RUNNING, State.SCHEDULED}


@pytest.fixture(scope="module")
def there(chancy_server: str, chancy_template: str) -> Iterator[Going]:
    with going(chancy_server, chancy_template) as it:
        yield it


@define
class Row:
    step: int
    name: str
    kind: str
    state: str
    waits_for: int
    parent: int | None
    first: int | None
    last: int | None
    job: UUID | None
    result: Any
    may_fail: bool


@st.composite
def flows(draw: st.DrawFn) -> Workflow:
    """A workflow of a few jobs, groups and maps, each after some of those before it."""
    flow = Workflow("random")
    names: list[str] = []
    for n in range(draw(st.integers(1, 6))):
        name = f"n{n}"
        after = draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) if names else []
        given_ = draw(st.lists(st.sampled_from(names), max_size=2)) if names else []
        kwargs: dict[str, Any] = {f"a{m}": flow[one].result for m, one in enumerate(given_)}
        if names and draw(st.booleans()):
            kwargs["many"] = [flow[one].result for one in draw(st.lists(st.sampled_from(names)))]
        key = draw(st.none() | st.none() | st.sampled_from(["k0", "k1"]))
        job = Job("flows.any", kwargs=kwargs, queue="q", unique_key=key)
        may = draw(st.booleans())
        kind = draw(st.sampled_from(["job", "job", "job", "group", "map"]))
        if kind == "group":
            flow.group(name, [job] * draw(st.integers(1, 3)), after=after, allow_failure=may)
        elif kind == "map" and names:
            over = flow[draw(st.sampled_from(names))]
            flow.map(
                name,
                job.with_kwargs(**kwargs, one=over.each).with_unique_key(None),
                after=after,
                allow_failure=may,
            )
        else:
            flow.add(name, job, after=after, allow_failure=may)
        names.append(name)
    return flow


@define
class Run:
    """One workflow on its way, and what is known of its jobs without asking the plugin."""

    there: Going
    flow: Workflow
    id: UUID = field(init=False)
    #: What became of each job: its state, and what it returned.
    truth: dict[UUID, tuple[str, Any]] = field(factory=dict)
    #: Those whose success was recorded, whatever came later: with the result of then.
    succeeded: dict[UUID, Any] = field(factory=dict)

    def push(self, app: Chancy) -> None:
        made = record.of_workflow(app, self.flow)
        self.id = made.id
        (statement,) = statements.push(NAMES, made)
        self.there.run(statement)
        stored = self.there.run(statement)  # a second time it changes nothing
        assert set(stored) == {row.job for row in self.rows().values() if row.state == "queued"}

    def rows(self) -> dict[int, Row]:
        found = self.there.conn.execute(
            "SELECT step, name, kind, state, waits_for, parent, first, last, job, result, may_fail"
            " FROM chancy_workflow_steps WHERE workflow = %s ORDER BY step",
            [self.id],
        )
        return {row[0]: Row(*row) for row in found}

    def live(self) -> list[UUID]:
        jobs = [row.job for row in self.rows().values() if row.job is not None]
        found = self.there.conn.execute(
            "SELECT id FROM chancy_jobs WHERE id = ANY(%s) ORDER BY id", [jobs]
        )
        return [id_ for (id_,) in found]

    def end(self, job: UUID, state: State, value: Any, *, told: bool, most: int) -> None:
        """Settle a job, in a transaction with what the plugin has to say, or without."""
        (claimed,) = self.there.claim([job])
        text = codec.encode(value, "value") if state is State.SUCCEEDED else None
        settled = [
            Settlement(claimed.job, Outcome(Kind.SUCCESS, result=text), Verdict(state)),
        ]
        with self.there.conn.transaction():
            assert self.there.run(finish(NAMES, settled)) == {job}
            if told:
                asked = statements.settle(NAMES, settled, lambda _: None)
                asked.params["most"] = most  # type: ignore[index]
                self.there.run(asked)
                self.there.run(asked)  # what is recorded already changes nothing
        self.note(job, state.value, value)

    def note(self, job: UUID, state: str, value: Any) -> None:
        self.truth[job] = (state, value)

    def sweep(self) -> None:
        """What a worker does each half a minute; until there is nothing more to do."""
        for _ in range(100):
            look = self.there.run(left.look(NAMES, queued=FIRST, bad=FIRST, due=FIRST))
            gone = Gone(frozenset(), ())
            if look.stuck:
                gone = self.there.run(statements.look_again(NAMES, look.stuck))
            told = [self.there.run(statements.go_on(NAMES, [flow])) for flow in look.due]
            if not look.stuck and not any(one.queues or one.more for one in (gone, *told)):
                return
        raise AssertionError("the sweep has no end")


def deps(run: Run, rows: dict[int, Row]) -> dict[int, set[int]]:
    """What each step waits for, by the definition."""
    by_name = {row.name: row for row in rows.values()}
    waits = {
        by_name[name].step: {by_name[one].step for one in several}
        for name, several in run.flow.graph().waits.items()
    }
    for row in rows.values():
        if row.parent is not None and row.step not in waits:  # made by a map
            waits[row.step] = {row.parent}  # whose own steps were over
            waits[row.parent].add(row.step)
    return waits


def check(run: Run) -> None:
    """What is true at every moment, whatever has not been told yet."""
    rows = run.rows()
    waits = deps(run, rows)
    for row in rows.values():
        if row.state == "succeeded" and row.job is not None and row.job not in run.succeeded:
            state, run.succeeded[row.job] = run.truth[row.job]
            assert state == "succeeded"
        made = row.parent is not None and rows[row.parent].kind == "map"
        others = set() if made else {s for s in waits[row.step] if rows[s].state not in DONE}
        if row.state == "waiting":
            assert row.waits_for == len(others) > 0, row
        else:
            assert not others or row.kind == "map", row  # nothing before what it waits for
    (w,) = run.there.conn.execute(
        "SELECT state, total, queued, succeeded, failed, cancelled, excused, gates"
        " FROM chancy_workflows WHERE id = %s",
        [run.id],
    ).fetchall()
    jobs = Counter(row.state for row in rows.values() if row.kind == "job")
    gates = Counter(row.state for row in rows.values() if row.kind != "job")
    assert w[1:7] == (
        jobs.total(),
        jobs["queued"],
        jobs["succeeded"],
        jobs["failed"] + gates["failed"],
        jobs["cancelled"],
        jobs["excused"],
    )
    assert w[7] == gates.total() - gates["succeeded"]
    bad = w[4] + w[5]
    over = all(row.state in DONE for row in rows.values())
    assert w[0] == ("failed" if bad else "completed" if over else "running")


def value_of(run: Run, rows: dict[int, Row], step: int) -> Any:
    row = rows[step]
    if row.kind == "job":
        assert row.job is not None
        return None if row.state == "excused" else run.succeeded.get(row.job)
    assert row.first is not None
    assert row.last is not None
    return [value_of(run, rows, member) for member in range(row.first, row.last + 1)]


def check_told(run: Run, *, paused: bool) -> None:
    """What is true besides once all has been told."""
    rows = run.rows()
    by_name = {row.name: row.step for row in rows.values()}
    live = set(run.live())
    failed = any(row.state in {"failed", "cancelled"} for row in rows.values())
    held = {
        key
        for (key,) in run.there.conn.execute("SELECT unique_key FROM chancy_jobs")
        if key is not None
    }
    for row in rows.values():
        if row.state == "ready" and not failed and not paused:
            assert row.kind == "job"
            key = run.flow.graph().nodes[row.name].job.unique_key  # type: ignore[union-attr]
            assert key in held, row
        if row.kind != "job":
            continue
        assert row.job is not None
        if row.state == "queued":
            assert row.job in live
        elif row.state == "succeeded":
            assert row.result == run.succeeded[row.job]
        elif row.state == "excused":  # for good: others may have been given None for it
            assert row.may_fail
        elif row.state in {"failed", "cancelled"} and row.job not in live:
            assert not row.may_fail
            assert run.truth[row.job][0] != "succeeded"
        elif row.state in {"waiting", "ready"}:
            assert row.job not in run.truth
    check_arguments(run, rows, by_name)


def check_arguments(run: Run, rows: dict[int, Row], by_name: dict[str, int]) -> None:
    """Whatever was pushed was given the results, in their places, and was pushed once."""
    found = run.there.conn.execute(
        "SELECT s.step, j.args, count(*) OVER (PARTITION BY j.id) FROM chancy_workflow_steps AS s"
        " JOIN chancy_jobs_v1 AS j ON j.id = s.job WHERE s.workflow = %s",
        [run.id],
    ).fetchall()
    graph = run.flow.graph()
    for step, args, times in found:
        assert times == 1
        row = rows[step]
        map_ = rows[row.parent] if row.name not in graph.nodes and row.parent else None
        node = graph.nodes[map_.name if map_ else row.name]
        assert node.job is not None
        expected = {}
        for key, steps in node.inputs.items():
            values = [value_of(run, rows, by_name[one]) for one in steps]
            expected[key] = values if key == "many" else values[0]
        if map_ is not None:
            assert node.over is not None
            assert map_.first is not None
            listed = value_of(run, rows, by_name[node.over[1]])
            expected["one"] = listed[step - map_.first]
        if "many" in node.job.kwargs and not node.job.kwargs["many"]:
            expected["many"] = []
        assert args == expected


VALUES = st.integers(0, 9) | st.lists(st.integers(0, 9), max_size=3)
ACTIONS = ["end", "end", "end", "end", "end", "end", "sweep", "retry", "cancel", "purge", "pause"]


@OFTEN
@given(st.data())
def test_whatever_happens_it_is_as_the_model_has_it(there: Going, data: st.DataObject) -> None:
    for table in ("jobs", "history", "workflows", "workflow_steps", "workflow_edges"):
        there.conn.execute(f"DELETE FROM chancy_{table}")
    run = Run(there, data.draw(flows()))
    run.push(Chancy("host=nowhere"))
    check(run)
    paused = False
    for _ in range(data.draw(st.integers(0, 25))):
        action = data.draw(st.sampled_from(ACTIONS))
        live = run.live()
        ended = sorted(set(run.truth) - set(live))
        if action == "end" and live:
            states = [State.SUCCEEDED, State.SUCCEEDED, State.SUCCEEDED, State.FAILED]
            state = data.draw(st.sampled_from([*states, State.LOST, State.CANCELLED]))
            run.end(
                data.draw(st.sampled_from(live)),
                state,
                data.draw(VALUES),
                told=data.draw(st.booleans()),
                most=data.draw(st.sampled_from([1, 2, 500])),
            )
        elif action == "sweep":
            run.sweep()
        elif action == "retry" and ended:
            there.run(retry(NAMES, [data.draw(st.sampled_from(ended))]))
        elif action == "cancel" and live:
            job = data.draw(st.sampled_from(live))
            there.run(cancel(NAMES, [job]))
            run.note(job, "cancelled", None)
        elif action == "purge" and ended:
            job = data.draw(st.sampled_from(ended))
            recorded = {row.job: row.state for row in run.rows().values()}
            there.run(purge(NAMES, [job]))
            if recorded[job] != "succeeded":  # nobody can know any more
                run.note(job, "gone", None)
        elif action == "pause":
            paused = not paused
            change = statements.pause if paused else statements.resume
            there.run(change(NAMES, run.id))
        check(run)
    run.sweep()
    check(run)
    check_told(run, paused=paused)
