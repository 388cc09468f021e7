"""The plugin itself: an endpoint for as long as a worker lives."""

import logging
from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary

import anyio
from anyio import to_thread

from chancy_core.errors import DatabaseError
from chancy_core.hookspecs import hookimpl
from chancy_core.host import Service, WorkerHost
from chancy_core.outcome import Settlement
from chancy_plugins.prometheus.collecting import Collector
from chancy_plugins.prometheus.endpoint import HOST, Address, Endpoint

log = logging.getLogger("chancy.prometheus")

#: Seconds between two times that the installation is read.
OFTEN = 15.0
#: Seconds after which what was counted is shown.
SHOWING = 1.0
#: Seconds that closing may take.
CLOSING = 3.0
#: Seconds after which one that was not heard of is taken for one that hangs.
PATIENCE = 60.0


class Prometheus:
    """The plugin `prometheus`, with the address that it answers on.

        Chancy(plugins=[Prometheus(port=9464)])

    On 127.0.0.1 unless *host* says otherwise: whoever can ask reads the names of queues and
    functions. Of several workers in one process all are shown by one endpoint. A port that is
    taken is told of in the log, and stops nothing.

    Raises `InvalidPlugin` for what is no address, and `MissingExtra` without prometheus_client.
    """

    def __init__(self, port: int, host: str = HOST) -> None:
        self._collector = Collector()
        self._endpoint = Endpoint(Address.made(host, port), self._collector)
        self._users: WeakKeyDictionary[WorkerHost, None] = WeakKeyDictionary()
        self._opened = False

    @property
    def port(self) -> int | None:
        """The port that it listens on; None while no worker lives."""
        return self._endpoint.port

    @hookimpl
    def chancy_worker_services(self, worker: WorkerHost) -> Iterable[Service]:
        """Answer for as long as the worker lives."""

        async def serve() -> None:
            await self._serve(worker, service)

        service = Service("prometheus", serve, patience=PATIENCE)
        return [service]

    @hookimpl
    async def chancy_jobs_settled(self, settled: Sequence[Settlement], worker: WorkerHost) -> None:
        """Count what became of jobs, if nobody else does."""
        self._collector.settled(settled, worker)

    async def _serve(self, worker: WorkerHost, service: Service) -> None:
        self._users[worker] = None
        try:
            if not self._opened:
                self._opened = True
                if not await self._open():
                    return
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._refresh, worker)
                while True:
                    service.beat()
                    self._collector.pour(worker)
                    await anyio.sleep(SHOWING)
        finally:
            self._users.pop(worker, None)
            if not self._users and self._opened:
                self._opened = False
                with anyio.move_on_after(CLOSING, shield=True):
                    await to_thread.run_sync(self._endpoint.close, abandon_on_cancel=True)

    async def _open(self) -> bool:
        address = self._endpoint.address
        try:
            await to_thread.run_sync(self._endpoint.open)
        except OSError as exc:
            log.error("nobody answers Prometheus on %s:%d: %s", address.host, address.port, exc)
            return False
        log.info("Prometheus is answered on %s:%d", address.host, self._endpoint.port)
        return True

    async def _refresh(self, worker: WorkerHost) -> None:
        """Read the installation now and then; what keeps us from it is told of once."""
        told = False
        while True:
            try:
                await self._collector.refresh(worker.chancy)
            except Exception as exc:
                if not isinstance(exc, DatabaseError) and not hasattr(exc, "sqlstate"):
                    raise
                if not told:
                    log.warning("the installation cannot be read for Prometheus: %s", exc)
                told = True
            else:
                told = False
            await anyio.sleep(OFTEN)
