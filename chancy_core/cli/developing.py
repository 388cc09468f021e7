"""`chancy dev`: a server, migrations, and a worker that begins anew when a file changes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Self

import anyio
from anyio import to_thread

from chancy_core import signals
from chancy_core.app import background
from chancy_core.cli import failing, leash
from chancy_core.cli.invocation import Here, Invocation
from chancy_core.cli.times import Duration
from chancy_core.cli.watching import Seen, changed, look
from chancy_core.cli.working import split

#: Seconds beyond the grace period after which a worker that was told to stop is killed.
PATIENCE = 10.0


def dev(
    app: str | None = None,
    /,
    *,
    tags: str = "",
    grace_period: Duration = None,
    log_level: str = "warning",
    here: Here,
) -> int:
    """Develop: an embedded server, migrations, and a worker that follows your changes.

    Whatever you save, the worker begins anew with it. Other commands join the server while this
    runs. Ctrl-C ends all of it.

    Parameters
    ----------
    app
        Your application: a file, a module, or module:name.
    tags
        What the worker is, for the queues' tags to match: has=gpu,zone=a.
    grace_period
        How long jobs may run on when the worker stops or begins anew; 5 seconds otherwise.
    log_level
        What the worker logs: debug, info, warning or error; warning otherwise.
    """
    if app is not None:
        os.environ["CHANCY_APP"] = app
    named = app or here.settings.app
    if named is None and not os.environ.get("CHANCY_JOBS"):
        raise failing.Refused("say which application: `chancy dev app.py`")
    orders = {
        "tags": split(tags),
        "grace_period": 5.0 if grace_period is None else grace_period.total_seconds(),
        "log_level": log_level,
        "dsn": here.settings.dsn if here.settings.insistent else None,
        "joins": here.settings.dsn is None,
        "traceback": here.settings.traceback,
    }
    if here.settings.dsn:
        here.output.say(f"on the database {_place(here.settings.dsn)}, which was named")
    reloading = Reloading(here.output.say, folders(named), orders)
    with nullcontext() if here.settings.dsn else _server(here):
        anyio.run(reloading.run, backend=here.settings.backend)
    return failing.DONE


def _place(dsn: str) -> str:
    """Return where a DSN leads, without what it may hold of secrets."""
    from psycopg.conninfo import conninfo_to_dict

    from chancy_core.postgres.dsn import conninfo

    told = conninfo_to_dict(conninfo(dsn))
    return f"{told.get('dbname', '')} on {told.get('host', 'the local server')}"


def folders(app: str | None) -> Sequence[Path]:
    """Return where the files of an application are: here, and beside its own."""
    cwd = Path.cwd()
    if app is None or ".py" not in app:
        return [cwd]
    beside = Path(app.partition(".py")[0]).absolute().parent
    return [cwd] if beside.is_relative_to(cwd) else [cwd, beside]


@contextmanager
def _server(here: Invocation) -> Iterator[None]:
    """Have a server while this runs; it stops with the last who uses it."""
    from chancy_core import embedded

    with embedded.join(linger=0.0, progress=here.output.say) as lease:
        here.output.say(f"PostgreSQL {lease.version} in {lease.folder}")
        here.output.say(
            f'  for other commands as it is, for other programs CHANCY_DSN="{lease.dsn}"'
        )
        os.environ["CHANCY_DSN"] = lease.dsn
        yield


class Reloading:
    """One worker after the other, each in a process of its own that loads the files anew."""

    def __init__(
        self, say: Callable[[str], object], folders: Sequence[Path], orders: dict[str, Any]
    ) -> None:
        self._say = say
        self._folders = folders
        self._orders = orders
        self._stopping = anyio.Event()
        self._signals = 0
        self._child: Child | None = None

    async def run(self) -> None:
        """Work until signals say stop; no worker is left then."""
        async with background() as tasks:
            tasks.start_soon(signals.obey, self._signalled)
            while not self._stopping.is_set():
                seen = await to_thread.run_sync(look, self._folders)
                await self._live(seen)

    async def _live(self, seen: Seen) -> None:
        """Have a worker until a file changes, also when the worker ends before that."""
        async with Child(self._orders) as self._child, anyio.create_task_group() as race:
            race.start_soon(self._await_change, seen, race.cancel_scope)
            race.start_soon(self._await_end, self._child)
            await self._stopping.wait()
            await self._child.ended()
            race.cancel_scope.cancel()

    async def _await_change(self, seen: Seen, race: anyio.CancelScope) -> None:
        path = await changed(self._folders, seen)
        if not self._stopping.is_set():
            self._say(f"{os.path.relpath(path)} has changed: the worker begins anew")
            race.cancel()

    async def _await_end(self, child: "Child") -> None:
        await child.ended()
        if not self._stopping.is_set():
            self._say("the worker has ended: it begins anew when a file changes")

    def _signalled(self, number: signal.Signals) -> None:
        self._signals += 1
        self._stopping.set()
        if self._child is None:
            return
        if self._signals > 2:
            self._child.kill()
        else:
            self._child.tell(leash.TALK if number is signal.SIGINT else leash.QUIET)


class Child:
    """A worker's process, which does not outlive this one."""

    def __init__(self, orders: Mapping[str, Any]) -> None:
        self._orders = orders

    async def __aenter__(self) -> Self:
        theirs, self._leash = os.pipe()
        try:
            self._process = await anyio.open_process(
                [
                    sys.executable,
                    *("-m", "chancy_core.cli.developed"),
                    json.dumps({**self._orders, "leash": theirs}),
                ],
                stdin=subprocess.DEVNULL,
                stdout=None,
                stderr=None,
                start_new_session=True,  # Ctrl-C is ours, and told to it by the leash
                pass_fds=[theirs],
            )
        except BaseException:
            os.close(self._leash)
            raise
        finally:
            os.close(theirs)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop it, if it has not ended: it may take its grace period, and is killed after that."""
        with anyio.CancelScope(shield=True):
            if self._process.returncode is None:
                self.tell(leash.QUIET)
            with anyio.move_on_after(self._orders["grace_period"] + PATIENCE):
                await self.ended()
            self.kill()
            await self._process.aclose()
            os.close(self._leash)

    def tell(self, what: bytes) -> None:
        """Tell it to stop."""
        with suppress(BrokenPipeError):  # it has ended
            os.write(self._leash, what)

    async def ended(self) -> None:
        """Return once it has ended."""
        await self._process.wait()

    def kill(self) -> None:
        """End it at once."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
