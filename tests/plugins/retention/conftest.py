"""What the tests of retention use: both event loops, and a history that is written by hand."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from attrs import define

from chancy_core.identity import new_id

#: A finished job, as the tests write it: how many seconds ago it ended, and what it was.
ROW = """
INSERT INTO chancy_history (id, queue, func, args, meta, state, priority, max_attempts, attempts,
                            claims, crashes, at_most_once, exclusive, keep_result, created_at,
                            scheduled_at, finished_at)
VALUES (%(id)s, %(queue)s, %(func)s, '{}', '{"n": "é\\n"}', %(state)s, 0, 1, 1, 1, 0, false, false,
        true, %(at)s, %(at)s, %(at)s)
"""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _nobody_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHANCY_RETENTION", raising=False)


def as_of(at: datetime) -> UUID:
    """Make an id as it would have been made then."""
    made = new_id().int & ((1 << 80) - 1)
    return UUID(int=int(at.timestamp() * 1000) << 80 | made)


@define
class History:
    """The history of a test, written by hand."""

    conn: psycopg.Connection
    prefix: str = "chancy_"

    def now(self) -> datetime:
        ((now,),) = self.conn.execute("SELECT chancy_now()").fetchall()
        return now.astimezone(UTC)

    def table(self, day: date) -> str:
        return f"{self.prefix}history_{day:%Y%m%d}"

    def make(self, day: date) -> str:
        """Make the partition of a day, if it is not there."""
        table = self.table(day)
        if not self.there(table):
            self.conn.execute(f"CREATE TABLE {table} (LIKE chancy_history INCLUDING ALL)")
            self.conn.execute(
                f"ALTER TABLE chancy_history ATTACH PARTITION {table} "
                f"FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
            )
        return table

    def put(
        self, at: datetime, *, state: str = "succeeded", queue: str = "q", func: str = "f"
    ) -> UUID:
        """Write a finished job, and make its day."""
        self.make(at.date())
        id_ = as_of(at)
        row = {"id": id_, "at": at, "state": state, "queue": queue, "func": func}
        self.conn.execute(ROW, row)
        return id_

    def ago(self, days: float, number: int = 1, **job: str) -> tuple[date, list[UUID]]:
        """Write jobs that ended so many days ago; answers which day that is, and their ids."""
        at = self.now() - timedelta(days=days)
        return at.date(), [self.put(at, **job) for _ in range(number)]

    def ids(self) -> set[UUID]:
        return {row[0] for row in self.conn.execute("SELECT id FROM chancy_history").fetchall()}

    def there(self, table: str) -> bool:
        return self.one("SELECT to_regclass(%s) IS NOT NULL", table)

    def attached(self, table: str) -> bool:
        return self.one(
            "SELECT EXISTS (SELECT FROM pg_inherits JOIN pg_class ON oid = inhrelid"
            " WHERE relname = %s AND NOT inhdetachpending)",
            table,
        )

    def one(self, text: str, *given: object) -> bool:
        ((found,),) = self.conn.execute(text, given).fetchall()
        return bool(found)


@pytest.fixture
def history(chancy_dsn: str) -> Iterator[History]:
    with psycopg.connect(chancy_dsn, autocommit=True) as conn:
        yield History(conn)
