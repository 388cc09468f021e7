"""A way to the server that can be blocked or cut, to be a network that fails."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Upstream(anyio.abc.ByteStream):
    """A plain socket. (anyio's own stream over a Unix socket, when it is cancelled on asyncio while
    data arrives, leaves an InvalidStateError behind.)"""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock

    async def receive(self, max_bytes: int = 65536) -> bytes:
        while True:
            if self.sock.fileno() < 0:
                raise anyio.ClosedResourceError
            await anyio.wait_readable(self.sock)
            try:
                data = self.sock.recv(max_bytes)
            except BlockingIOError:
                continue
            except OSError as error:
                raise anyio.BrokenResourceError from error
            if not data:
                raise anyio.EndOfStream
            return data

    async def send(self, item: bytes) -> None:
        left = memoryview(item)
        while left:
            try:
                left = left[self.sock.send(left) :]
            except BlockingIOError:
                await anyio.wait_writable(self.sock)
            except OSError as error:
                raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        if self.sock.fileno() >= 0:
            anyio.notify_closing(self.sock)
            self.sock.close()


class Proxy:
    """Forwards bytes between clients and the server, until it is told not to."""

    def __init__(self, dsn: str) -> None:
        self.target = conninfo_to_dict(dsn)
        self.port = 0
        self.frozen = False
        self.thawed = anyio.Event()
        self.accepted = 0
        self.refusing_after: int | None = None
        self.links: set[anyio.abc.ByteStream] = set()

    @property
    def dsn(self) -> str:
        return make_conninfo(
            "",
            **{**self.target, "host": "127.0.0.1", "port": self.port, "hostaddr": None},
            gssencmode="disable",
            sslmode="disable",
        )

    def freeze(self) -> None:
        """A black hole from now on: what is sent arrives nowhere, and nobody is told."""
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        self.thawed.set()
        self.thawed = anyio.Event()

    async def cut(self) -> None:
        """End every connection there is."""
        for link in list(self.links):
            await link.aclose()

    def _upstream(self) -> "Upstream":
        host, port = str(self.target.get("host") or "localhost"), self.target.get("port") or 5432
        if host.startswith("/"):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(f"{host}/.s.PGSQL.{port}")
        else:
            sock = socket.create_connection((host, int(port)))
        return Upstream(sock)

    async def _serve(self, client: anyio.abc.SocketStream) -> None:
        self.accepted += 1
        stuck = self.refusing_after is not None and self.accepted > self.refusing_after
        async with client:
            if stuck:
                await anyio.sleep_forever()
            async with self._upstream() as server, anyio.create_task_group() as tasks:
                self.links |= {client, server}
                tasks.start_soon(self._pump, client, server, tasks.cancel_scope)
                tasks.start_soon(self._pump, server, client, tasks.cancel_scope)
                try:
                    await anyio.sleep_forever()
                finally:
                    self.links -= {client, server}

    async def _pump(
        self,
        source: anyio.abc.ByteStream,
        sink: anyio.abc.ByteStream,
        scope: anyio.CancelScope,
    ) -> None:
        try:
            async for data in source:
                while self.frozen:
                    await self.thawed.wait()
                await sink.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        while self.frozen:
            await self.thawed.wait()
        scope.cancel()


@asynccontextmanager
async def proxied(dsn: str, kind: type[Proxy] = Proxy) -> AsyncIterator[Proxy]:
    proxy = kind(dsn)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        proxy.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        tasks.start_soon(listener.serve, proxy._serve)
        yield proxy
        tasks.cancel_scope.cancel()
