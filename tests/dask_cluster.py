"""A Dask cluster of a test: a scheduler and workers, each a process of its own, to be killed."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from tests.fleet import until

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"


class DaskCluster:
    """Processes of Dask; all are gone at the end, whatever happened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: dict[int, subprocess.Popen[bytes]] = {}
        with socket.socket() as free:  # a scheduler that is started anew has the same
            free.bind((HOST, 0))
            self.port = free.getsockname()[1]

    @property
    def address(self) -> str:
        return f"tcp://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._ends = ExitStack()
        try:
            self.start_scheduler()
            self.start_worker()
            self.start_worker()
        except BaseException:
            self._ends.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._ends.close()

    def _start(self, program: str, *told: str) -> "subprocess.Popen[bytes]":
        log = self._ends.enter_context((self.folder / f"{program}.log").open("ab"))
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{program}", "--no-dashboard", *told],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
        self._ends.callback(process.wait)
        self._ends.callback(process.kill)
        return process

    def start_scheduler(self) -> None:
        """Start it, and wait until it listens."""
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        told = ("--host", HOST, "--port", str(self.port), "--scheduler-file", str(file))
        self.scheduler = self._start("scheduler", *told)
        until(lambda: file.exists() and _is_json(file), 30, "a Dask scheduler")

    def start_worker(self) -> int:
        """Start a worker, wait until the scheduler knows it, and return its pid."""
        known = self.known
        told = ("--no-nanny", "--nthreads", "1", "--memory-limit", "0", "--host", HOST)
        where = ("--local-directory", str(self.folder), "--resources", "GPU=1")
        process = self._start("worker", self.address, *told, *where)
        self.workers[process.pid] = process
        until(lambda: self.known > known, 30, "a Dask worker")
        return process.pid

    def kill(self, pid: int) -> None:
        """Kill a worker, and wait until the scheduler knows that it is gone."""
        known = self.known
        process = self.workers.pop(pid)
        process.kill()
        process.wait()
        until(lambda: self.known < known, 30, "the end of a Dask worker")

    @contextmanager
    def client(self) -> Iterator[Any]:
        from distributed import Client

        with Client(self.address, set_as_default=False, timeout=10) as client:
            yield client

    def ask(self, question: Callable[..., Any]) -> Any:
        """Return what a function answers that is called with the scheduler, as `dask_scheduler`."""
        with self.client() as client:
            return client.run_on_scheduler(question)

    @property
    def known(self) -> int:
        """How many workers the scheduler knows."""
        known: int = self.ask(lambda dask_scheduler: len(dask_scheduler.workers))
        return known

    @property
    def left(self) -> list[str]:
        """What of us the scheduler still knows: tasks, and names under which some are kept."""
        found: list[str] = self.ask(
            lambda dask_scheduler: [
                *map(str, dask_scheduler.tasks),
                *dask_scheduler.extensions["publish"].datasets,
            ]
        )
        return found


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text())
    except ValueError:
        return False  # it is being written
    return True
