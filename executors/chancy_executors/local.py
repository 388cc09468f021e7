"""A Dask cluster of the worker's own: its scheduler here, its processes on this machine."""

import logging
import os
import shutil
import signal
import tempfile
from contextlib import suppress
from importlib import import_module
from typing import Any

#: How its scheduler gives out tasks: as many as there are threads; and those of which nothing is
#: known yet may take long, so that an adaptive cluster has a process for each that waits.
SCHEDULING = {
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.unknown-task-duration": "60s",
}


class LocalCluster:
    """One process for each job that runs; all belong to this worker and end with it.

    A process has the job that it runs and none behind it. So one that dies costs that job and no
    other, and it can be killed for its job's sake.
    """

    def __init__(self, size: int, adaptive: tuple[int, int] | None) -> None:
        #: How many processes it is to have, unless Dask adapts that.
        self.size = size
        self._adaptive = adaptive
        self._cluster: Any = None
        self._folder = ""

    async def start(self) -> Any:
        """Start it, and return what clients connect to. Raises what Dask raises."""
        self._folder = tempfile.mkdtemp(prefix="chancy-dask-")
        self._cluster = import_module("distributed").LocalCluster(
            n_workers=self.size if self._adaptive is None else self._adaptive[0],
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            local_directory=self._folder,
            dashboard_address=None,
            scheduler_kwargs={"allowed_failures": 0, "dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.ERROR,  # that a process is killed, and another started, is no news
            asynchronous=True,
        )
        with import_module("dask.config").set(SCHEDULING):
            await self._cluster
        if self._adaptive is not None:
            least, most = self._adaptive
            self._cluster.adapt(minimum=least, maximum=most)
        self.grow()  # it may have been told so meanwhile
        return self._cluster

    def grow(self) -> None:
        """Have it grow to its size. Nothing is taken from what may run."""
        begun = self._cluster is not None and self._cluster.status.name == "running"
        if begun and self._adaptive is None:
            self._cluster.scale(max(self.size, len(self._cluster.worker_spec)))

    async def kill(self, key: str, client: str) -> None:
        """Kill the process that runs a task of a client; Dask starts another in its place.

        The scheduler is in our hands at this moment, and gives a process nothing before it knows
        that the last task has ended there: so it is no other's. What it gives it once this task is
        released does not arrive there any more, and is taken back as the process goes.
        """
        scheduler = self._cluster.scheduler
        task = scheduler.tasks.get(key)
        worker = None if task is None else task.processing_on
        if worker is not None:
            scheduler.client_releases_keys(keys=[key], client=client)
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
            killed = {"stimulus_id": "chancy-killed", "expected": True, "close": False}
            await scheduler.remove_worker(worker.address, **killed)

    async def close(self) -> None:
        """End it with all its processes, however far it has come."""
        try:
            if self._cluster is not None:
                await self._cluster.close()
        finally:
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)
