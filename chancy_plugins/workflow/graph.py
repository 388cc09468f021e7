"""What waits for what in a workflow, and whether that has an end."""

from collections import deque
from collections.abc import Mapping
from typing import Literal

from attrs import frozen

from chancy_core.job import Job
from chancy_plugins.workflow.errors import (
    CircularDependencyError,
    EmptyWorkflowError,
    InvalidDependencyError,
    InvalidWorkflow,
)
from chancy_plugins.workflow.picture import Drawn
from chancy_plugins.workflow.reference import Each, named

#: The most steps that one workflow has, and how often they wait for each other.
STEPS, EDGES = 50_000, 500_000

Kind = Literal["job", "group", "map"]


@frozen
class Node:
    """A step as it was added."""

    name: str
    #: The job; of a map, that of each member; a group has none.
    job: Job | None
    kind: Kind = "job"
    after: tuple[str, ...] = ()
    allow_failure: bool = False
    #: The group that it is a member of, and the members that it has.
    parent: str | None = None
    members: tuple[str, ...] = ()

    @property
    def inputs(self) -> dict[str, tuple[str, ...]]:
        """The steps whose results its arguments are, by argument; but for what a map is over."""
        if self.job is None:
            return {}
        found = {
            key: named(value)
            for key, value in self.job.kwargs.items()
            if not (self.kind == "map" and isinstance(value, Each))
        }
        return {key: steps for key, steps in found.items() if steps is not None}

    @property
    def over(self) -> tuple[str, str] | None:
        """Of a map: the argument that is each element, and the step that returns the list."""
        if self.kind != "map" or self.job is None:
            return None
        each = ((key, one) for key, one in self.job.kwargs.items() if isinstance(one, Each))
        return next(((key, one.step) for key, one in each), None)

    def waits_for(self) -> tuple[str, ...]:
        """Return all that it comes after, once each."""
        over = self.over
        results = [step for steps in self.inputs.values() for step in steps]
        return tuple(
            dict.fromkeys([*self.after, *results, *self.members, *([over[1]] if over else [])])
        )


@frozen
class Graph:
    """The steps of a workflow in the order in which they were added, and what each waits for."""

    nodes: Mapping[str, Node]
    waits: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, workflow: str, nodes: Mapping[str, Node]) -> "Graph":
        """Return a graph, checked. Raises `InvalidWorkflow` and its kinds."""
        who = f"workflow {workflow!r}"
        if not nodes:
            raise EmptyWorkflowError(f"{who} has no steps: add one")
        if len(nodes) > STEPS:
            raise InvalidWorkflow(f"{who} has {len(nodes):,} steps, where {STEPS:,} are allowed")
        waits = {}
        for name, node in nodes.items():
            if node.kind == "group" and not node.members:
                raise EmptyWorkflowError(f"{who}: the group {name!r} has no jobs: leave it out")
            try:
                waits[name] = node.waits_for()
            except InvalidWorkflow as exc:
                raise InvalidWorkflow(f"{who}, step {name!r}: {exc}") from exc
        graph = cls(nodes, waits)
        graph._check_names(who)
        graph._check_results(who)
        graph._check_end(who)
        return graph

    def _check_names(self, who: str) -> None:
        count = 0
        for name, steps in self.waits.items():
            count += len(steps)
            for step in steps:
                if step not in self.nodes:
                    raise InvalidDependencyError(
                        f"{who}: step {name!r} waits for {step!r}, which is no step of it"
                    )
        if count > EDGES:
            raise InvalidWorkflow(
                f"{who}: its steps wait {count:,} times for each other, where {EDGES:,} are "
                "allowed; let them wait for a group, which counts once"
            )

    def _check_results(self, who: str) -> None:
        """Refuse results that nobody will have kept, and elements for what is no map."""
        for name, node in self.nodes.items():
            over = node.over
            used = [step for steps in node.inputs.values() for step in steps]
            for step in (*used, *([over[1]] if over else [])):
                source = self.nodes[step]
                for one in (source, *(self.nodes[member] for member in source.members)):
                    if one.job is not None and not one.job.keep_result:
                        raise InvalidWorkflow(
                            f"{who}: step {name!r} is given the result of {one.name!r}, which is "
                            "not kept: leave its keep_result=False out"
                        )
            if node.kind == "job" and node.job is not None:
                for key, value in node.job.kwargs.items():
                    if isinstance(value, Each):
                        raise InvalidWorkflow(
                            f"{who}: step {name!r} is one job, so its {key} cannot be each element "
                            "of a list; use map, or .result for all of it"
                        )

    def _check_end(self, who: str) -> None:
        """Refuse steps that wait for each other."""
        left = {name: len(steps) for name, steps in self.waits.items()}
        dependents: dict[str, list[str]] = {}
        for name, steps in self.waits.items():
            for step in steps:
                dependents.setdefault(step, []).append(name)
        free = deque(name for name, count in left.items() if not count)
        while free:
            name = free.popleft()
            del left[name]
            for dependent in dependents.get(name, ()):
                left[dependent] -= 1
                if not left[dependent]:
                    free.append(dependent)
        if left:
            way = self._round(next(iter(left)), left.keys())
            shown = way if len(way) <= 12 else [*way[:6], "…", *way[-5:]]
            raise CircularDependencyError(
                f"{who}: its steps wait for each other: {' → '.join(shown)}"
            )

    def _round(self, name: str, among: "frozenset[str] | set[str] | object") -> list[str]:
        """Return a way along what waits, that comes back to where it began."""
        way: dict[str, None] = {}
        while name not in way:
            way[name] = None
            name = next(step for step in self.waits[name] if step in among)  # type: ignore[operator]
        names = list(way)
        return [*names[names.index(name) :], name]

    def drawn(self) -> tuple[list[Drawn], list[tuple[str, str]]]:
        """Return what a picture shows: the steps, and who waits for whom."""
        steps = [Drawn(name, node.kind) for name, node in self.nodes.items()]
        return steps, [(step, name) for name, steps in self.waits.items() for step in steps]
