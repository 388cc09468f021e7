"""A way to the server that can be cut at a commit, blocked, and led elsewhere.

It reads the protocol as far as it must: it knows which of our statements a client is about to
commit, and whether the server has done so.
"""

import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib.resources import files

from chancy_core.statement import load

TEXT = slice(5, None)


def _first_lines() -> dict[bytes, str]:
    """The names of our statements by their first lines, which are comments of their own."""
    names = [path.name.removesuffix(".sql") for path in files("chancy_core.sql").iterdir()]
    found = {load(n).split("\n", 1)[0].encode(): n for n in names if not n.startswith("__")}
    assert all(line.startswith(b"-- ") for line in found)
    return found


class Link:
    """One client's connection: what it has prepared, and what its transaction has done so far."""

    def __init__(self, wire: "Wire", client: socket.socket, server: socket.socket) -> None:
        self.wire = wire
        self.client = client
        self.server = server
        self.prepared: dict[bytes, bytes] = {}
        self.current = b""
        self.batch: list[bytes] = []  # the statements since the last point where it waited
        self.transaction: list[str] = []
        self.inside = False
        self.copying = False
        self.cut_at_ready = threading.Event()
        self.started = False
        self.open = wire.open

    def close(self) -> None:
        for sock in (self.client, self.server):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def run(self) -> None:
        """Forward both ways until either side ends."""
        threads = [
            threading.Thread(target=self._guard, args=(pump,), daemon=True)
            for pump in (self._upstream, self._downstream)
        ]
        for thread in threads:
            thread.start()

    def _guard(self, pump: Callable[[], None]) -> None:
        with suppress(OSError):
            pump()
        self.open.wait()
        self.close()
        self.wire.links.discard(self)

    def _upstream(self) -> None:
        """From the client: whole batches of messages, so that none is cut in its middle."""
        data = bytearray()
        held = bytearray()
        while received := self.client.recv(65536):
            data += received
            while (message := self._message(data)) is not None:
                held += message
                if self._ends_batch(message):
                    self._send(bytes(held))
                    held.clear()
            if held.startswith((b"d", b"c")):  # a COPY flows
                self._send(bytes(held))
                held.clear()

    def _message(self, data: bytearray) -> bytes | None:
        """Take one message off the front, if there is a whole one."""
        head = 1 if self.started else 0
        if len(data) < head + 4:
            return None
        (length,) = struct.unpack_from("!i", data, head)
        if len(data) < head + length:
            return None
        message = bytes(data[: head + length])
        del data[: head + length]
        if not self.started:
            # A request for encryption is answered by one byte; the startup message follows.
            (code,) = struct.unpack_from("!i", message, 4)
            self.started = code not in {80877103, 80877104}
            self.batch = []
        return message

    def _ends_batch(self, message: bytes) -> bool:
        """Note what a message says; whether the client waits for an answer after it."""
        kind = message[:1]
        if kind == b"P":
            name, sql, *_ = message[TEXT].split(b"\0", 2)
            self.prepared[name] = sql
            self.current = sql
        elif kind == b"B":
            _, name, *_ = message[TEXT].split(b"\0", 2)
            self.current = self.prepared.get(name, b"")
        elif kind == b"E":
            self.batch.append(self.current)
        elif kind == b"Q":
            self.batch.append(message[TEXT].rstrip(b"\0"))
            self.copying = self.batch[-1].rstrip().endswith(b"FROM STDIN")
        elif kind in {b"c", b"f"}:
            self.copying = False
        return kind not in {b"P", b"B", b"D", b"E", b"C"}

    def _send(self, data: bytes) -> None:
        self.open.wait()
        commits = self._commits()
        how = self.wire.attack_on(commits) if commits else None
        if how == "before":
            raise OSError
        if how == "after":
            self.cut_at_ready.set()
        self.server.sendall(data)

    def _commits(self) -> list[str]:
        """The names of our statements that this batch commits."""
        batch, self.batch = self.batch, []
        known = [
            name for sql in batch if (name := self.wire.statements.get(sql.split(b"\n", 1)[0]))
        ]
        first = [sql.split(None, 1)[0].upper().rstrip(b";") for sql in batch if sql.split()]
        if b"BEGIN" in first:
            self.inside, self.transaction = True, []
        self.transaction += known
        if self.copying:  # its rows are still to come, and then its end
            return []
        if b"COMMIT" in first or not self.inside:
            self.inside = b"BEGIN" in first and b"COMMIT" not in first
            done, self.transaction = self.transaction, []
            return done
        if b"ROLLBACK" in first:
            self.inside = False
        return []

    def _downstream(self) -> None:
        last = b""
        while received := self.server.recv(65536):
            last = last[-5:] + received
            if self.cut_at_ready.is_set() and b"Z\x00\x00\x00\x05I" in last:
                return  # it is committed, and the client will not hear of it
            self.open.wait()
            self.client.sendall(received)


class Wire:
    """Forwards connections to *target*, a host and a port, or refuses them while that is None."""

    def __init__(self, target: tuple[str, int] | None) -> None:
        self.target = target
        self.statements = _first_lines()
        self.links: set[Link] = set()
        #: How many commits of each statement are still to be cut, and on which side of it.
        self.attacks: Counter[tuple[str, str]] = Counter()
        #: How many were.
        self.made: Counter[tuple[str, str]] = Counter()
        self.open = threading.Event()
        self.open.set()
        self._lost: list[threading.Event] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._closing = False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def dsn(self, direct: str) -> str:
        """The way through here to the database that *direct* leads to."""
        from psycopg.conninfo import make_conninfo

        return make_conninfo(
            direct, host="127.0.0.1", hostaddr="", port=self.port, sslmode="disable",
            gssencmode="disable",
        )  # fmt: skip

    def attack_on(self, commits: list[str]) -> str | None:
        """Whether the commit of these statements is to be cut: `before` it, `after` it, or not."""
        with self._lock:
            for name in commits:
                for how in ("before", "after"):
                    if self.attacks[name, how] > 0:
                        self.attacks[name, how] -= 1
                        self.made[name, how] += 1
                        return how
        return None

    def freeze(self) -> None:
        """Be a black hole: what is sent arrives nowhere, and nobody is told."""
        self.open.clear()

    def thaw(self) -> None:
        """Deliver what was sent meanwhile, and go on."""
        self.open.set()

    def lose(self) -> None:
        """Let new connections through; those that there are stay half open for ever."""
        self.freeze()
        self._lost.append(self.open)
        self.open = threading.Event()
        self.open.set()

    def cut(self) -> None:
        """End all connections that there are."""
        for link in list(self.links):
            link.close()

    def _accept(self) -> None:
        while not self._closing:
            ready, _, _ = select.select([self._listener], [], [], 0.05)
            if not ready or self._closing:
                continue
            client, _ = self._listener.accept()
            if self.target is None:
                client.close()
                continue
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            link = Link(self, client, server)
            self.links.add(link)
            link.run()

    def close(self) -> None:
        self._closing = True
        for event in (self.open, *self._lost):
            event.set()
        self._thread.join()
        self._listener.close()
        self.cut()


@contextmanager
def wire(target: tuple[str, int] | None) -> Iterator[Wire]:
    """A wire to a server."""
    with closing(Wire(target)) as made:
        yield made
