"""`chancy worker`: a worker until it is told to stop, or until nothing is left to do."""

import sys
import threading
import time
from functools import partial
from typing import Annotated

import anyio
from cyclopts import Parameter

from chancy_core import signals
from chancy_core.app import background
from chancy_core.cli import failing, logs
from chancy_core.cli.draining import Drain
from chancy_core.cli.invocation import Here, Invocation
from chancy_core.cli.stopping import Stopping, leave_behind
from chancy_core.cli.times import Duration
from chancy_core.executor import JOB_THREAD
from chancy_core.job import State
from chancy_core.worker import Worker

#: Seconds that threads may take to end once the worker has stopped.
_THREADS = 0.5


def worker(
    *,
    queues: str | None = None,
    tags: str | None = None,
    name: str | None = None,
    grace_period: Duration = None,
    drain: Annotated[bool, Parameter(negative=())] = False,
    health: Annotated[str | None, Parameter(env_var="CHANCY_HEALTH")] = None,
    health_file: Annotated[str | None, Parameter(env_var="CHANCY_HEALTH_FILE")] = None,
    log_level: str = "info",
    log_format: str = "text",
    here: Here,
) -> int:
    """Run the jobs of all queues that match, until it is told to stop.

    Ctrl-C and SIGTERM let its jobs end; a second one cancels those that still run, and they go
    back into their queues.

    Parameters
    ----------
    queues
        Only these, of the queues that match: mail,pictures.
    tags
        What this worker is, for the queues' tags to match: has=gpu,zone=a.
    name
        What it is called in lists; otherwise its host's name and its process's number.
    grace_period
        How long its jobs may run on when it stops, such as 90 or 10m; 30 seconds otherwise.
    drain
        Stop as soon as nothing is due in its queues.
    health
        Answer GET /live and /ready here, for a supervisor: 8080 or 127.0.0.1:8080.
    health_file
        Keep a file that says the same.
    log_level
        What to log: debug, info, warning or error; info otherwise.
    log_format
        How to log, on stderr: text or json; text otherwise.
    """
    logs.set_up(log_level, log_format)
    if not here.settings.app and not here.app.jobs:
        raise failing.Refused(
            "a worker runs what its code registers with @job: name an application by --app, "
            "or modules by --jobs"
        )
    made = Worker(
        here.app,
        queues=None if queues is None else split(queues),
        tags=split(tags or ""),
        name=name,
        grace_period=30.0 if grace_period is None else grace_period.total_seconds(),
        signals=False,
        health=health,
        health_file=health_file,
    )
    code = anyio.run(partial(_work, here, made, drain=drain), backend=here.settings.backend)
    end_threads(here)
    return code


def split(text: str) -> list[str]:
    """Return what stands between the commas of *text*."""
    return [part for part in map(str.strip, text.split(",")) if part]


async def _work(here: Invocation, made: Worker, *, drain: bool) -> int:
    async with here.chancy():
        return await (_drain(here, made) if drain else run(here, made))


async def run(here: Invocation, made: Worker) -> int:
    """Let the worker work until signals stop it; answers the exit code."""
    stopping = Stopping(made, here.output.say)
    async with background() as tasks:
        tasks.start_soon(signals.obey, stopping.signalled)
        await made.start()
    return failing.DONE


async def _drain(here: Invocation, made: Worker) -> int:
    """Let the worker work until nothing is left, and answer what has finished."""
    await made.chancy.check()  # before a bar is drawn
    drain, stopping = Drain(made), Stopping(made, here.output.say)
    with here.output.progress("jobs") as step:
        made.events.on("job.settled", lambda event: step(event.value[2].state.finished))
        async with background() as tasks:
            tasks.start_soon(signals.obey, stopping.signalled)
            tasks.start_soon(drain.run)
            await made.start()
    finished = {state.value: drain.finished[state] for state in State if state.finished}
    there = [f"{number:,} {state}" for state, number in finished.items() if number]
    here.output.item(finished, ", ".join(there) or "there was nothing to do")
    if drain.dry:
        return failing.DONE
    return failing.INTERRUPTED if stopping.interrupted else failing.FAILED


def end_threads(here: Invocation) -> None:
    """Leave the process without threads that do not end.

    Python itself would wait for them; or, for those of trio, end them wherever they are, and say
    nothing.
    """
    deadline = time.monotonic() + _THREADS
    for thread in threading.enumerate():
        if thread is threading.current_thread():
            continue
        while _works(thread) and time.monotonic() < deadline:
            thread.join(0.01)
        if _works(thread):
            sys.stdout.flush()
            leave_behind(
                here.output.say, f"the thread of a job ({thread.name.removeprefix(JOB_THREAD)})"
            )


def _works(thread: threading.Thread) -> bool:
    """Whether somebody has to wait for a thread: trio keeps its own for later."""
    return thread.is_alive() and (not thread.daemon or thread.name.startswith(JOB_THREAD))
