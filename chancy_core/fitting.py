"""Whether the executor of a queue can run what is pushed to it, as far as a producer can know.

A producer knows the queues that it has declared. What it knows may be old: so it looks at the row
before it refuses a push, and only then. What it does not know it pushes; the worker that claims
such a job settles it as `unsupported`.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from chancy_core import registry
from chancy_core.errors import ChancyError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chancy_core.capability import Capability
    from chancy_core.job import Job, Reference
    from chancy_core.queue import Queue
    from chancy_core.statement import Names
    from chancy_core.store.carrying import Request
    from chancy_core.store.pushing import Storing


class Fitting:
    """The queues that an application has declared, by what their executors can do."""

    def __init__(self) -> None:
        self._able: dict[str, Capability] = {}

    def learn(self, queue: "Queue") -> "Queue":
        """Note how a queue stands; returns it."""
        from chancy_core.installed import find_executor

        self._able.pop(queue.name, None)
        with suppress(
            ChancyError
        ):  # it is not installed here, or its options are another version's
            self._able[queue.name] = find_executor(queue)[0].capabilities
        return queue

    def push(
        self, names: "Names", batch: "Sequence[Job]", store: "Storing | None" = None
    ) -> "Request[list[Reference]]":
        """Store jobs as `pushing.push` does. Raises `Unsupported` for one that nobody would run."""
        from chancy_core.store import pushing

        if self._able:
            # One of each kind: what else is in a job makes no difference.
            kinds = {(job.func, job.version, job.queue, job.limits): job for job in batch}
            yield from self._check(names, kinds.values())
        return (yield from pushing.push(names, batch, store))

    def _check(self, names: "Names", jobs: "Iterable[Job]") -> "Request[None]":
        from chancy_core.store import statements

        for job in jobs:
            if self._refusal(job) is None:
                continue
            found = yield statements.all_queues(names, [job.queue])
            self._able.pop(job.queue, None)
            for queue in found.sound:
                self.learn(queue)
            if refusal := self._refusal(job):
                raise refusal

    def _refusal(self, job: "Job") -> Unsupported | None:
        from chancy_core.executor import check_support

        made, able = registry.find(job.func), self._able.get(job.queue)
        if made is None or able is None or job.version > made.version:
            return None  # what newer code needs is not known here
        try:
            check_support(job, made, able)
        except Unsupported as exc:
            return exc
        return None
