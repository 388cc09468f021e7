"""`chancy push`: one job from words, or many from a file."""

import difflib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from anyio import to_thread
from attrs import frozen
from cyclopts import Parameter

from chancy_core import registry
from chancy_core.cli import arguments, failing
from chancy_core.cli.documents import job_document
from chancy_core.cli.failing import Refused
from chancy_core.cli.invocation import Here, Invocation
from chancy_core.cli.times import Duration, Instant
from chancy_core.errors import InvalidValue
from chancy_core.job import Job, Limit

if TYPE_CHECKING:
    from chancy_core.app import Chancy


@Parameter(name="*")
@frozen(kw_only=True)
class Asked:
    """What is asked of a job beside its arguments; what is not said is as its @job has it.

    Parameters
    ----------
    queue
        The queue.
    priority
        Higher runs first.
    max_attempts
        How often it is tried, the first time included.
    delay
        Not before so long: 90, 10m, 2h, 1d.
    at
        Not before this time: 2026-12-24T18:00.
    time_limit
        How long an attempt may take.
    memory_limit
        How many bytes an attempt may take.
    unique_key
        No two live jobs have the same.
    meta
        What travels with it, as tenant=acme or level:=3; may be given several times.
    at_most_once
        Once begun, never again.
    exclusive
        End the attempt while its lease is still sure.
    keep_result
        Whether what the function returns is stored.
    """

    queue: str | None = None
    priority: int | None = None
    max_attempts: int | None = None
    delay: Duration = None
    at: Instant = None
    time_limit: Duration = None
    memory_limit: int | None = None
    unique_key: str | None = None
    meta: tuple[str, ...] = ()
    at_most_once: bool | None = None
    exclusive: bool | None = None
    keep_result: bool | None = None

    def apply(self, job: Job) -> Job:
        """Return the job with these options. Raises `InvalidJob`, and `Refused` for two times."""
        plain = ("queue", "priority", "max_attempts", "unique_key")
        switches = ("at_most_once", "exclusive", "keep_result")
        changes: dict[str, Any] = {
            name: getattr(self, name)
            for name in plain + switches
            if getattr(self, name) is not None
        }
        if self.delay is not None and self.at is not None:
            raise Refused("--delay and --at are two ways to say one thing: say one of them")
        if self.delay is not None:
            changes["scheduled_at"] = datetime.now(UTC) + self.delay
        if self.at is not None:
            changes["scheduled_at"] = self.at
        if self.meta:
            changes["meta"] = {**job.meta, **arguments.read(self.meta)}
        limits = {limit.kind: limit for limit in job.limits}
        if self.time_limit is not None:
            limits[Limit.Type.TIME] = Limit(Limit.Type.TIME, self.time_limit.total_seconds())
        if self.memory_limit is not None:
            limits[Limit.Type.MEMORY] = Limit(Limit.Type.MEMORY, self.memory_limit)
        return job.options(**changes, limits=tuple(limits.values()))

    @property
    def empty(self) -> bool:
        """Whether nothing was said."""
        return self == Asked()


async def push(
    func: str | None = None,
    /,
    *words: str,
    asked: Asked = Asked(),
    file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    wait: Annotated[bool, Parameter(negative=())] = False,
    timeout: Duration = None,
    unchecked: Annotated[bool, Parameter(negative=())] = False,
    here: Here,
) -> int:
    """Push a job, or many from a file; its id is the answer.

    Parameters
    ----------
    func
        The function's name, or the end of it: app.welcome, or welcome.
    words
        Its arguments: name=Ada is read as the function wants it, times:=3 is JSON.
    file
        Push the packed jobs of a file, one JSON object a line; - is what comes by a pipe.
    wait
        Wait for its end; the answer is what it returned, and 1 the exit code if it failed.
    timeout
        Wait no longer than this: 90, 10m, 2h.
    unchecked
        Push it though nothing here is called so, for a worker that knows the function.
    """
    if (func is None) == (file is None):
        raise Refused("name a function, as in `chancy push welcome name=Ada`, or a --file of jobs")
    if file is not None:
        if words or wait or not asked.empty:
            raise Refused("each job of a --file says all of it itself, and is not waited for")
        return await _push_file(file, here)
    assert func is not None
    job = asked.apply(_find(func, words, here, unchecked=unchecked))
    async with here.chancy() as chancy:
        return await _push_one(chancy, job, here, wait=wait, seconds=timeout)


def _find(func: str, words: tuple[str, ...], here: Invocation, *, unchecked: bool) -> Job:
    """Return the job of the function that is meant, with its arguments checked if it is known."""
    app = here.app
    registry.import_jobs(app.jobs)
    func, known = registry.canonical(func), registry.registered()
    matching = [func] if func in known else [name for name in known if name.endswith(f".{func}")]
    if len(matching) == 1:
        made = registry.lookup(matching[0])
        kwargs = arguments.read(words, made.func)
        made.check(kwargs)
        return made.template.with_kwargs(**kwargs)
    if matching:
        raise Refused(f"{func!r} is the end of several names: {', '.join(matching)}")
    if known and not unchecked:
        close = difflib.get_close_matches(func, [*known, *(n.rpartition(".")[2] for n in known)])
        meant = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)};"
        raise Refused(
            f"no function is registered as {func!r} here: {meant} "
            "--unchecked pushes it for a worker that knows it"
        )
    return Job(func, kwargs=arguments.read(words))


async def _push_one(
    chancy: "Chancy", job: Job, here: Invocation, *, wait: bool, seconds: Any
) -> int:
    reference = await chancy.push(job)
    if not reference.new:
        here.output.say(f"a live job has this unique key: {reference}")
    if not wait:
        told = {"id": reference.id, "new": reference.new, "queue": job.queue, "func": job.func}
        here.output.item(told, str(reference))
        return failing.DONE
    timeout = None if seconds is None else seconds.total_seconds()
    try:
        done = await chancy.wait_for_job(reference, timeout=timeout)
    except TimeoutError:
        here.output.say(f"job {reference} has not ended within {timeout:g} s; it goes on")
        return failing.FAILED
    if here.output.as_json:
        here.output.item(job_document(done))
        return failing.DONE if done.state == "succeeded" else failing.FAILED
    returned = done.result()
    here.output.item(returned, returned if isinstance(returned, str) else json.dumps(returned))
    return failing.DONE


async def _push_file(file: Path, here: Invocation) -> int:
    jobs = await to_thread.run_sync(lambda: list(_read(file)))
    async with here.chancy() as chancy:
        with here.output.progress("pushing", len(jobs)) as advance:
            async for references in chancy.push_many(jobs):
                for reference in references:
                    here.output.item({"id": reference.id, "new": reference.new}, str(reference))
                advance(len(references))
    here.output.say(f"{len(jobs):,} jobs pushed")
    return failing.DONE


def _read(file: Path) -> Iterator[Job]:
    """Yield the jobs of a file. Raises `Refused` for a line that is none: then none is pushed."""
    text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield Job.unpack(json.loads(line))
            except (ValueError, InvalidValue) as exc:
                raise Refused(f"{file}, line {number}: {exc}") from exc
