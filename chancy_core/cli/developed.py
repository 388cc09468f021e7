"""The worker of `chancy dev`, in a process of its own; `python -m chancy_core.cli.developed`.

It has the settings of `chancy dev` by the environment, and its orders as JSON. What goes wrong is
one line, as everywhere; `chancy dev` waits for the file to be mended then.
"""

import json
import os
import sys
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from chancy_core import registry
from chancy_core.cli import failing, leash, logs
from chancy_core.cli.invocation import Invocation
from chancy_core.cli.options import Options
from chancy_core.cli.output import Output
from chancy_core.cli.reporting import Report
from chancy_core.cli.settings import settle
from chancy_core.cli.working import end_threads, run
from chancy_core.queue import Queue
from chancy_core.worker import Worker

if TYPE_CHECKING:
    from chancy_core.embedded import Lease


def main() -> None:
    """Work as ordered, until the leash says otherwise, and end the process."""
    orders = json.loads(sys.argv[1])
    leash.follow(orders["leash"], orders["grace_period"] + 5.0)
    sys.exit(_obey(orders))


def _obey(orders: dict[str, Any]) -> int:
    try:
        logs.set_up(orders["log_level"], "text")
        with _server() if orders["joins"] else nullcontext():
            here = Invocation(settle(Options(dsn=orders["dsn"])), Output())
            registry.import_jobs(here.app.jobs)
            code = anyio.run(partial(_work, here, orders), backend=here.settings.backend)
        end_threads(here)
    except BaseException as exc:  # noqa: BLE001 - this is the end of the line
        return failing.explain(exc, as_json=False, traceback=orders["traceback"])
    return code


def _server() -> "Lease":
    """Hold on to the server: should `chancy dev` be killed, it must not go before its worker."""
    from chancy_core import embedded

    return embedded.join(start=False, linger=0.0)


async def _work(here: Invocation, orders: dict[str, Any]) -> int:
    async with here.chancy() as chancy:
        await chancy.migrate()
        there = {queue.name for queue in await chancy.get_all_queues()}
        asked = {registry.lookup(name).template.queue for name in registry.registered()}
        for name in sorted(asked - there):
            await chancy.declare(Queue(name))
            here.output.say(f"declared the queue {name}, which jobs of the application ask for")
        worker = Worker(
            chancy,
            name=f"dev-{os.getpid()}",
            tags=orders["tags"],
            grace_period=orders["grace_period"],
            signals=False,
        )
        Report(worker, here.output.say)
        worker.events.on("worker.started", lambda _: here.output.say("ready for jobs"))
        return await run(here, worker)


if __name__ == "__main__":
    main()
