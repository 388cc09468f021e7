"""A Dask cluster of a test: a scheduler and workers, each a process of its own, to be killed."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import pytest

from tests.fleet import until

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
#: How many workers it has.
SIZE = 2
#: How many tasks a worker has with it, for each of its threads.
SATURATION = "DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION"


class DaskCluster:
    """Processes of Dask; all are gone at the end, whatever happened."""

    def __init__(self, folder: Path, *, saturation: str = "1.0") -> None:
        self.folder = folder
        self._settings = {SATURATION: saturation, "PYTHONPATH": str(ROOT)}
        self.workers: dict[int, subprocess.Popen[bytes]] = {}
        self._client: Any = None
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
            self.mend()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._disconnect()
        self._ends.close()

    def mend(self) -> None:
        """Start what has been killed, so that it is whole again, and nothing is left in it."""
        if self.scheduler.poll() is not None or self.left:
            self.kill_scheduler()
            self.start_scheduler()
            self.replace_workers()
        for pid, process in tuple(self.workers.items()):
            if process.poll() is not None:
                del self.workers[pid]
        while len(self.workers) < SIZE:
            self.start_worker()
        pids = set(self.workers)
        until(lambda: self.known == pids, 30, "the Dask workers")

    def replace_workers(self) -> None:
        """Kill all workers, as they would leave without their scheduler, and start others."""
        for pid in tuple(self.workers):
            process = self.workers.pop(pid)
            process.kill()
            process.wait()
            self.start_worker()

    def start_scheduler(self) -> None:
        """Start it, and wait until it listens."""
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        told = ("--host", HOST, "--port", str(self.port), "--scheduler-file", str(file))
        self.scheduler = self._start("scheduler", *told)
        until(lambda: file.exists() and _is_json(file), 30, "a Dask scheduler")

    def kill_scheduler(self) -> None:
        self._disconnect()
        self.scheduler.kill()
        self.scheduler.wait()

    def start_worker(self) -> None:
        """Start a worker. The scheduler will know it when it is there."""
        told = ("--no-nanny", "--nthreads", "1", "--memory-limit", "0", "--host", HOST)
        where = ("--local-directory", str(self.folder), "--resources", "GPU=1")
        process = self._start("worker", self.address, *told, *where)
        self.workers[process.pid] = process

    def _start(self, program: str, *told: str) -> "subprocess.Popen[bytes]":
        log = self._ends.enter_context((self.folder / f"{program}.log").open("ab"))
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{program}", "--no-dashboard", *told],
            cwd=ROOT,
            env=os.environ | self._settings,
            stdout=log,
            stderr=log,
        )
        self._ends.callback(process.wait)
        self._ends.callback(process.kill)
        return process

    def kill(self, pid: int) -> None:
        """Kill a worker, and wait until the scheduler knows that it is gone."""
        process = self.workers.pop(pid)
        process.kill()
        process.wait()
        until(lambda: pid not in self.known, 30, "the end of a Dask worker")

    @property
    def client(self) -> Any:
        """A client of Dask itself."""
        from distributed import Client

        if self._client is None:
            self._client = Client(self.address, set_as_default=False, timeout=10)
        return self._client

    def _disconnect(self) -> None:
        if self._client is not None:
            with suppress(OSError):
                self._client.close()
            self._client = None

    def ask(self, question: Callable[..., Any]) -> Any:
        """Return what a function answers that is called with the scheduler, as `dask_scheduler`."""
        return self.client.run_on_scheduler(question)

    @property
    def known(self) -> set[int]:
        """Which workers the scheduler knows, by their processes."""
        known: set[int] = self.ask(
            lambda dask_scheduler: {worker.pid for worker in dask_scheduler.workers.values()}
        )
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

    @property
    def seen(self) -> dict[str, tuple[str, set[str]]]:
        """The tasks that the scheduler knows: the state of each, and by whom it is wanted."""
        found: dict[str, tuple[str, set[str]]] = self.ask(
            lambda dask_scheduler: {
                key: (task.state, {client.client_key for client in task.who_wants or ()})
                for key, task in dask_scheduler.tasks.items()
            }
        )
        return found


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text())
    except ValueError:
        return False  # it is being written
    return True


@pytest.fixture(scope="session")
def dask_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with DaskCluster(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.fixture
def dask(dask_cluster: DaskCluster) -> DaskCluster:
    """The cluster of all tests, whole, and with nothing in it."""
    dask_cluster.mend()
    return dask_cluster
