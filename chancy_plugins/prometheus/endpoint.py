"""Where Prometheus asks: an address, and a server in a thread of its own."""

import logging
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIServer

from attrs import define, field, frozen

from chancy_core.codec import shown
from chancy_core.errors import InvalidPlugin
from chancy_plugins.prometheus.collecting import Collector
from chancy_plugins.prometheus.families import library

log = logging.getLogger("chancy.prometheus")

#: Who may ask, unless somebody says otherwise: this machine.
HOST = "127.0.0.1"


@frozen
class Address:
    """An address to listen on; 0 is a port that is free."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> "Address":
        """Read `host:port`, or a port alone. Raises `InvalidPlugin`."""
        host, _, port = text.strip().rpartition(":")
        if not port.isascii() or not port.isdecimal():
            raise InvalidPlugin(
                f"prometheus: an address is host:port, or a port, not {shown(text)}"
            )
        return cls.made(host.strip("[]") or HOST, int(port))

    @classmethod
    def made(cls, host: str, port: int) -> "Address":
        """Return an address. Raises `InvalidPlugin` for what is none."""
        sound = isinstance(port, int) and not isinstance(port, bool) and 0 <= port <= 65_535
        if not sound or not isinstance(host, str) or not host:
            raise InvalidPlugin(
                f"prometheus: a host is a text and a port is 0 to 65,535, not {shown((host, port))}"
            )
        return cls(host, port)


@define(eq=False)
class Endpoint:
    """A server that answers with what a collector shows."""

    address: Address
    collector: Collector
    _server: WSGIServer | None = field(init=False, default=None)
    _thread: Thread | None = field(init=False, default=None)

    @property
    def port(self) -> int | None:
        """The port that it listens on; None while it does not."""
        return None if self._server is None else int(self._server.server_port)

    def open(self) -> None:
        """Begin to listen. Raises `OSError` if the address cannot be had."""
        client: Any = library()
        registry = client.CollectorRegistry(auto_describe=False)
        registry.register(self.collector)
        address = self.address
        self._server, self._thread = client.start_http_server(
            address.port, addr=address.host, registry=registry
        )

    def close(self) -> None:
        """Listen no longer."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        if self._thread is not None:
            self._thread.join(5)
