"""Processes that push while workers are under attack."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from tests.faults.armada import ROOT
from tests.faults.earlier import Earlier
from tests.fleet import until


class Producers:
    """Processes that push: each is of this release, or of the one before."""

    def __init__(self, dsn: str, record: Path) -> None:
        self.told = [dsn, str(record)]
        self.record = record
        self.started: list[subprocess.Popen[bytes]] = []
        self.living: list[tuple[subprocess.Popen[bytes], Earlier | None]] = []

    def start(self, earlier: Earlier | None = None) -> None:
        """Start one, of the release before if that is given; return when it pushes."""
        release = "old" if earlier else "new"
        name = f"{release}-producer-{len(self.started)}"
        told = earlier.environment if earlier else {}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.producer", *self.told, name],
            cwd=ROOT,
            env=os.environ | told,
        )
        self.started.append(process)
        self.living.append((process, earlier))
        until(lambda: name in self.record.read_text(), 30, f"{name} pushes")

    def replace(self) -> None:
        """Kill one at random, and start another of its kind."""
        process, earlier = self.living.pop(random.randrange(len(self.living)))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        self.start(earlier)

    def stop(self) -> None:
        """Have all finish what they are pushing."""
        for process, _ in self.living:
            process.terminate()
        for process, _ in self.living:
            assert process.wait(20) in {0, -signal.SIGTERM}  # one may have begun just now

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
