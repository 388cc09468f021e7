"""Probes over HTTP: `/live` and `/ready`, 200 or 503, with the reasons as JSON.

Just enough of HTTP/1.1 (RFC 9112) for a probe: one request a connection, GET or HEAD, no body.
"""

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus

import anyio
from anyio.abc import Listener, SocketAttribute, SocketStream
from attrs import asdict

from chancy_core.errors import ChancyError
from chancy_core.health.health import Health

log = logging.getLogger("chancy.health")

#: Seconds that a request may take to come and its answer to be read, bytes that it may have, and
#: how many there may be at once.
PATIENCE = 5.0
LONGEST = 8192
AT_ONCE = 32
#: Seconds until it listens again if that has failed.
PAUSE = 1.0


class Probes:
    """Answers whoever asks at an address how a worker is."""

    def __init__(self, listener: Listener[SocketStream], look: Callable[[], Health]) -> None:
        self._listener = listener
        self._look = look
        self._open = 0

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port on which it listens."""
        there = self._listener.extra(SocketAttribute.local_address)  # noqa: S610 - it is no Django
        return str(there[0]), int(there[1])

    async def run(self) -> None:
        """Answer until cancelled; what fails is logged, and costs nobody but who asked."""
        while True:
            try:
                await self._listener.serve(self._answer)
            except Exception as exc:  # noqa: BLE001 - no probe is worth a worker
                log.error("probes are not answered for a moment: %s", exc)
            await anyio.sleep(PAUSE)

    async def _answer(self, client: SocketStream) -> None:
        self._open += 1
        try:
            async with client:
                if self._open <= AT_ONCE:
                    with anyio.move_on_after(PATIENCE):
                        await client.send(self.response(await _request(client)))
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # it did not wait for the answer
        except Exception:
            log.exception("a probe could not be answered")
        finally:
            self._open -= 1

    def response(self, request: bytes | None) -> bytes:
        """Return the answer to a request, of which *request* is the head; None if it is too long.

        Never fails, whatever the request is.
        """
        if request is None:
            return _written(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, {})
        words = request.partition(b"\r\n")[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _written(HTTPStatus.BAD_REQUEST, {})
        method, path, _ = words
        if method not in {b"GET", b"HEAD"}:
            return _written(HTTPStatus.METHOD_NOT_ALLOWED, {})
        asked = path.partition(b"?")[0]
        if asked not in {b"/live", b"/ready"}:
            return _written(HTTPStatus.NOT_FOUND, {})
        health = self._look()
        good = health.live if asked == b"/live" else health.ready
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        return _written(status, asdict(health), bodiless=method == b"HEAD")


async def _request(client: SocketStream) -> bytes | None:
    """Read the head of a request; None if it is too long."""
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        if len(head) > LONGEST:
            return None
        try:
            head += await client.receive(LONGEST)
        except anyio.EndOfStream:
            break
    return head


def _written(status: HTTPStatus, body: dict[str, object], *, bodiless: bool = False) -> bytes:
    content = json.dumps(body or {"error": status.phrase}).encode() + b"\n"
    allow = "Allow: GET, HEAD\r\n" if status is HTTPStatus.METHOD_NOT_ALLOWED else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n"
        f"{allow}"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (b"" if bodiless else content)


@asynccontextmanager
async def listening(
    address: tuple[str, int] | None, look: Callable[[], Health]
) -> AsyncIterator[Probes | None]:
    """Take an address for as long as the block lasts; nothing if there is none.

    Raises `ChancyError` if it cannot be had.
    """
    async with AsyncExitStack() as stack:
        if address is None:
            yield None
            return
        host, port = address
        try:
            listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
        except OSError as exc:
            raise ChancyError(f"health: cannot listen on {host}, port {port}: {exc}") from exc
        await stack.enter_async_context(listener)
        yield Probes(listener, look)
