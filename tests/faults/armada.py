"""Worker processes that are killed, frozen and replaced, on both event loops in turns."""

import json
import os
import random
import signal
import subprocess
import sys
from itertools import count, cycle
from pathlib import Path
from typing import Any, Self

from attrs import define

from tests.faults.record import Record
from tests.fleet import until

ROOT = Path(__file__).parents[2]


class Nursery:
    """The process that workers are forked from. *ahead*: how wrong its clock is."""

    def __init__(
        self, *, ahead: float | None = None, environment: dict[str, str] | None = None
    ) -> None:
        told = {} if ahead is None else {"CHANCY_FAULTS_AHEAD": str(ahead)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            cwd=ROOT,
            env=os.environ | told | (environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **what: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@define
class Member:
    """A worker process: *status* is None while it lives."""

    name: str
    pid: int
    nursery: Nursery
    backend: str
    frozen: bool = False
    status: int | None = None


class Armada:
    """Workers in processes of their own; every second one on trio. All are gone at the end.

    *folder* keeps the record and what the workers log. The other options are those of each worker:
    *lease* and *grace* in seconds, *chancy* the arguments of its application.
    """

    def __init__(self, dsn: str, folder: Path, **options: Any) -> None:
        self.dsn = dsn
        self.folder = folder
        self.record = Record(folder / "record")
        self.log = folder / "log"
        self.options = options
        self.members: dict[int, Member] = {}
        #: Those that have ended, in order.
        self.ended: list[Member] = []
        self.random = random.Random(0)
        self._names = (f"w{n}" for n in count())
        self._backends = cycle(("asyncio", "trio"))
        self._nurseries: list[Nursery] = []

    def __enter__(self) -> Self:
        self.nursery = self.raise_nursery()
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *exc: object) -> None:
        for nursery in self._nurseries:
            nursery.close()
        if exc_type is not None and self.log.exists():
            print(
                "what the workers logged last:", *self.log.read_text().splitlines()[-40:], sep="\n"
            )
        self.record.close()

    def raise_nursery(self, **how: Any) -> Nursery:
        """Another nursery, for workers with a clock or an environment of their own."""
        nursery = Nursery(**how)
        self._nurseries.append(nursery)
        return nursery

    def start(
        self, number: int = 1, nursery: Nursery | None = None, **options: Any
    ) -> list[Member]:
        """Start so many workers; they are not at work yet when this returns."""
        nursery = nursery or self.nursery
        started = []
        for _ in range(number):
            name, backend = next(self._names), next(self._backends)
            told = {
                "name": name, "backend": backend, "dsn": self.dsn,
                "record": str(self.record.path), "log": str(self.log),
            }  # fmt: skip
            pid = nursery.ask(start=told | self.options | options)["pid"]
            member = Member(name, pid, nursery, (told | options)["backend"])
            self.members[pid] = member
            started.append(member)
        return started

    def look(self) -> list[Member]:
        """Notice who has ended since the last look, and return them."""
        found = []
        for nursery in self._nurseries:
            for pid, status in nursery.ask(ended=None)["ended"].items():
                member = self.members.pop(int(pid))
                member.status = status
                found.append(member)
        self.ended += found
        return found

    def lives(self, member: Member) -> bool:
        """Whether it has not ended."""
        self.look()
        return member.pid in self.members

    def replace(self, number: int, **options: Any) -> list[Member]:
        """Be a supervisor: look, and start as many as are missing to *number*."""
        ended = self.look()
        self.start(number - len(self.members), **options)
        return ended

    def pick(self) -> Member:
        """One that lives and is not frozen, at random."""
        return self.random.choice([m for m in self.members.values() if not m.frozen])

    def kill(self, member: Member) -> None:
        """End it by SIGKILL: it hears nothing of it."""
        self._signal(member, signal.SIGKILL)
        self.record.say("killed", target=member.pid)

    def freeze(self, member: Member) -> None:
        """Stop all that it does, until it is thawed."""
        self.record.say("frozen", target=member.pid)
        self._signal(member, signal.SIGSTOP)
        member.frozen = True

    def thaw(self, member: Member) -> None:
        """Let it go on, as if no time had passed."""
        self._signal(member, signal.SIGCONT)
        member.frozen = False
        self.record.say("thawed", target=member.pid)

    def terminate(self, member: Member, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to stop."""
        self.record.say("terminated", target=member.pid, by=number.name)
        self._signal(member, number)

    def logged(self, what: str) -> int:
        """How many lines of what the workers have logged contain this."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return sum(what in line for line in lines)

    def _signal(self, member: Member, number: signal.Signals) -> None:
        # Its number is its own until the nursery was asked who has ended.
        assert member.pid in self.members, f"{member} has ended"
        os.kill(member.pid, number)

    def stop(self, within: float = 30.0) -> None:
        """Ask all to stop, and wait until they have."""
        for member in list(self.members.values()):
            if member.frozen:
                self.thaw(member)
            self.terminate(member)
        until(lambda: (self.look(), not self.members)[1], within, f"all stop: {self.members}")
