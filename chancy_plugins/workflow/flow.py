"""A workflow as it is written down: `Workflow`, `Sequence`, and `Step`, which names one of it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import Attribute, define, field, frozen

from chancy_core import codec
from chancy_core.function import JobFunction
from chancy_core.job import Job
from chancy_plugins.workflow import picture
from chancy_plugins.workflow.errors import InvalidWorkflow
from chancy_plugins.workflow.graph import Graph, Node
from chancy_plugins.workflow.reference import Each, Result

#: The most bytes of a name.
LONGEST = 200
#: What a job may be given as.
Given = Job | JobFunction[..., Any]


def job_of(given: Given, who: str) -> Job:
    """Return a job, where a function may stand for it. Raises `InvalidWorkflow`."""
    made = given.bind() if isinstance(given, JobFunction) else given
    if not isinstance(made, Job):
        raise InvalidWorkflow(f"{who}: give a job, such as my_job.bind(), not {codec.shown(given)}")
    return made


def check_name(name: object, what: str) -> None:
    """Refuse what is no name. Raises `InvalidWorkflow`."""
    problem = codec.unstorable(name) if isinstance(name, str) else "it must be a text"
    if problem is None and isinstance(name, str) and not 1 <= len(name.encode()) <= LONGEST:
        problem = f"it must have 1 to {LONGEST} bytes"
    if problem is not None:
        raise InvalidWorkflow(f"the name of {what}, {codec.shown(name)}: {problem}")


@frozen
class Step:
    """One step of a workflow, to be named where others are added."""

    name: str

    @property
    def result(self) -> Any:
        """What its job will have returned: to be an argument of another, or one of a list."""
        return Result(self.name)

    @property
    def each(self) -> Any:
        """Each element of the list that its job will have returned: an argument of a `map`."""
        return Each(self.name)


#: How steps are named that others wait for.
After = str | Step | Iterable[str | Step]


def _names(after: After) -> tuple[str, ...]:
    several = (after,) if isinstance(after, str | Step) else tuple(after)
    return tuple(one.name if isinstance(one, Step) else one for one in several)


@define(eq=False)
class Workflow:
    """Jobs that wait for each other, and hand on what they return.

        flow = Workflow("thumbnails")
        listed = flow.add("list", list_images.bind(folder="/in"))
        made = flow.map("resize", resize.bind(path=listed.each, width=200))
        flow.add("index", write_index.bind(paths=made.result))

    Steps may be added in any order. `Workflows.push` stores it. *on_failure* is a job that is
    pushed when the first step has failed for good; its meta says which.

    Raises `InvalidWorkflow` for what cannot be a name.
    """

    name: str = field()
    on_failure: Given | None = field(default=None, kw_only=True)
    _nodes: dict[str, Node] = field(init=False, factory=dict, repr=False)

    @name.validator
    def _is_name(self, _: "Attribute[str]", name: str) -> None:
        check_name(name, "a workflow")

    def add(
        self, name: str, job: Given, /, *, after: After = (), allow_failure: bool = False
    ) -> Step:
        """Add a step: a job that is pushed when those that it comes *after* have succeeded.

        It also comes after each step whose `result` is one of its arguments. With *allow_failure*
        the workflow goes on if it fails for good, and its result is None.

        Raises `InvalidWorkflow` if the name is taken.
        """
        who = f"step {name!r} of workflow {self.name!r}"
        return self._put(
            Node(name, job_of(job, who), after=_names(after), allow_failure=allow_failure)
        )

    def group(
        self,
        name: str,
        jobs: Iterable[Given] | Mapping[str, Given],
        /,
        *,
        after: After = (),
        allow_failure: bool = False,
    ) -> Step:
        """Add several steps at once, and one that is over when all of them are.

        Each comes *after* the same ones. They are called `pages[0]`, `pages[1]`, …, or by the keys
        of a mapping. The result of the group is the list of theirs, in this order.

        Raises `InvalidWorkflow` if a name is taken, and `EmptyWorkflowError` for no jobs.
        """
        own = isinstance(jobs, Mapping)
        pairs = jobs.items() if isinstance(jobs, Mapping) else _numbered(name, jobs)
        before = dict(self._nodes)
        try:
            members = [
                self._put(
                    Node(
                        member,
                        job_of(job, f"step {member!r} of workflow {self.name!r}"),
                        after=_names(after),
                        allow_failure=allow_failure,
                        parent=name,
                    ),
                    own=own,
                ).name
                for member, job in pairs
            ]
            return self._put(Node(name, None, kind="group", members=tuple(members)))
        except BaseException:
            self._nodes = before
            raise

    def map(
        self, name: str, job: Given, /, *, after: After = (), allow_failure: bool = False
    ) -> Step:
        """Add a step for each element of a list that another step returns, whatever its length.

        One argument of *job* is `step.each`. The jobs are called `resize[0]`, `resize[1]`, …; the
        map is over when all of them are, at once if the list is empty, and its result is the list
        of theirs, in this order. A list may have 10,000 elements.

        Raises `InvalidWorkflow` if the name is taken, or there is not just one such argument.
        """
        who = f"step {name!r} of workflow {self.name!r}"
        made = job_of(job, who)
        each = [key for key, value in made.kwargs.items() if isinstance(value, Each)]
        if len(each) != 1:
            raise InvalidWorkflow(
                f"{who}: just one argument of a map is each element of a list, such as "
                f"my_job.bind(path=listed.each); here there are {len(each)}"
            )
        return self._put(
            Node(name, made, kind="map", after=_names(after), allow_failure=allow_failure)
        )

    def _put(self, node: Node, *, own: bool = True) -> Step:
        check_name(node.name, f"a step of workflow {self.name!r}")
        if own and node.name.endswith("]"):
            raise InvalidWorkflow(
                f"step {node.name!r} of workflow {self.name!r}: names with [0] are those of a "
                "group's, or a map's, members"
            )
        if node.name in self._nodes:
            raise InvalidWorkflow(f"workflow {self.name!r} has a step {node.name!r} already")
        self._nodes[node.name] = node
        return Step(node.name)

    def __getitem__(self, name: str) -> Step:
        return Step(self._nodes[name].name)

    def __delitem__(self, name: str) -> None:
        node = self._nodes[name]
        if node.parent is not None:
            raise InvalidWorkflow(
                f"step {name!r} belongs to the group {node.parent!r}: delete that"
            )
        for gone in (name, *node.members):
            del self._nodes[gone]

    def __contains__(self, name: object) -> bool:
        return name in self._nodes

    def __iter__(self) -> Iterator[Step]:
        return iter([Step(name) for name in self._nodes])

    def __len__(self) -> int:
        return len(self._nodes)

    def graph(self) -> Graph:
        """Return what waits for what, checked.

        Raises `EmptyWorkflowError`, `InvalidDependencyError`, `CircularDependencyError`, or
        another `InvalidWorkflow`: for too many steps, or a result that is not kept.
        """
        return Graph.of(self.name, self._nodes)

    def validate(self) -> None:
        """Raise what `graph` does, if it cannot be pushed."""
        self.graph()

    def dot(self) -> str:
        """Return a picture of it, as Graphviz reads it."""
        return picture.dot(self.name, *self.graph().drawn())

    def mermaid(self) -> str:
        """Return a picture of it, as Mermaid reads it."""
        return picture.mermaid(*self.graph().drawn())


def _numbered(name: str, jobs: Iterable[Given]) -> Iterator[tuple[str, Given]]:
    if isinstance(jobs, Job | JobFunction) or not isinstance(jobs, Iterable):
        raise InvalidWorkflow(
            f"group {name!r}: give several jobs, or a mapping of names to jobs, "
            f"not {codec.shown(jobs)}"
        )
    return ((f"{name}[{n}]", job) for n, job in enumerate(jobs))


class Sequence(Workflow):
    """A workflow whose steps come one after the other; they are called `step_0`, `step_1`, ….

    Sequence("release", [build.bind(), test.bind(), ship.bind()])
    """

    def __init__(
        self, name: str, jobs: Iterable[Given] = (), *, on_failure: Given | None = None
    ) -> None:
        super().__init__(name, on_failure=on_failure)
        for job in jobs:
            self.append(job)

    def append(self, job: Given, /, *, allow_failure: bool = False) -> Step:
        """Add a step after the last."""
        last = list(self._nodes)[-1:]
        name = f"step_{len(self._nodes)}"
        return self.add(name, job, after=last, allow_failure=allow_failure)
