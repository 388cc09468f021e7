"""A connection that can be asked without being waited for."""

import select
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result

#: Cheap where nothing is to last, and quick to notice that sessions wait for each other.
OPTIONS = "-c synchronous_commit=off -c deadlock_timeout=20ms -c lock_timeout=0"

Rows = list[tuple[Any, ...]]


class Session:
    """One connection. `ask` sends, `answered` looks, `answer` reads what came back."""

    def __init__(self, dsn: str) -> None:
        self._conn = psycopg.connect(dsn, autocommit=True, options=OPTIONS)
        self._bind = psycopg.ClientCursor(self._conn)
        self._pq = self._conn.pgconn
        self._poll = select.poll()
        self._poll.register(self._pq.socket, select.POLLIN)
        self._results: list[psycopg.pq.abc.PGresult] = []
        self.pid = self._pq.backend_pid

    def close(self) -> None:
        self._conn.close()

    def bound(self, text: bytes | str, params: Mapping[str, Any] | None) -> bytes:
        """Write values into a statement: several of them go in one message then."""
        written = text if isinstance(text, bytes) else text.encode()
        if params is None:
            return written
        return self._bind.mogrify(written.decode(), params).encode()

    def ask(self, text: bytes) -> None:
        """Send statements."""
        self._pq.send_query(text)

    def answered(self, seconds: float) -> bool:
        """Whether all that was asked is answered, after *seconds* at most."""
        if self._pq.is_busy() and self._poll.poll(seconds * 1000):
            self._pq.consume_input()
        while not self._pq.is_busy():
            result = self._pq.get_result()
            if result is None:
                return True
            self._results.append(result)
        return False

    def answers(self) -> list[Rows]:
        """Wait for the answers to all that was asked; the first error is raised."""
        while not self.answered(1.0):
            pass
        results, self._results = self._results, []
        for result in results:
            if result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
                raise error_from_result(result)
        return [self._rows(r) for r in results if r.status == psycopg.pq.ExecStatus.TUPLES_OK]

    def run(self, text: bytes) -> list[Rows]:
        """Send statements and wait for the answers of those that have any."""
        self.ask(text)
        return self.answers()

    def _rows(self, result: psycopg.pq.abc.PGresult) -> Rows:
        reader = Transformer(self._conn)
        reader.set_pgresult(result)
        return reader.load_rows(0, result.ntuples, tuple)
