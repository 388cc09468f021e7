"""Files of days: all of it, or nothing; and what cannot be written down stays in the history."""

import gzip
import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from uuid import UUID

import anyio
import psycopg
import pytest

from chancy import Chancy
from chancy_core.errors import InvalidValue
from chancy_plugins.retention import Keep, Retention, days, export, read
from chancy_plugins.retention.export import _Part
from tests.plugins.retention.conftest import History
from tests.plugins.retention.test_run import small_batches

pytestmark = pytest.mark.anyio


@pytest.fixture
def retention(tmp_path: Path) -> Retention:
    return Retention(keep=days(30), export=tmp_path)


def file(folder: Path, history: History, day: object) -> Path:
    return folder / f"{history.table(day)}.jsonl.gz"


@pytest.mark.parametrize("batch", [1, 2, 3, 1000])
async def test_a_day_is_written_down_before_it_is_dropped(
    chancy_app: Chancy, history: History, retention: Retention, tmp_path: Path, batch: int
):
    day, ids = history.ago(40, 3, state="failed", queue="mail", func="acme.send")
    stays, _ = history.ago(5)
    everything = history.conn.execute("SELECT * FROM chancy_history WHERE queue = 'mail'")
    names = [column.name for column in everything.description or ()]
    with small_batches(batch):
        removed = await retention.run(chancy_app)
    assert (removed.days, removed.problems) == ((day,), ())
    rows = list(read(file(tmp_path, history, day)))
    assert [UUID(row["id"]) for row in rows] == sorted(ids)
    assert list(rows[0]) == names
    assert (rows[0]["state"], rows[0]["meta"]) == ("failed", {"n": "é\n"})
    assert datetime.fromisoformat(rows[0]["finished_at"]).date() == day
    assert rows[0]["finished_at"].endswith("+00:00")
    assert [path.name for path in tmp_path.iterdir()] == [f"{history.table(day)}.jsonl.gz"]
    assert not history.there(history.table(day))
    assert history.there(history.table(stays))


async def test_an_empty_day_is_a_file_without_jobs(
    chancy_app: Chancy, history: History, retention: Retention, tmp_path: Path
):
    day, _ = history.ago(40, 0)
    history.make(day)
    await retention.run(chancy_app)
    assert list(read(file(tmp_path, history, day))) == []


async def test_a_day_that_cannot_be_written_down_stays(
    chancy_app: Chancy, history: History, tmp_path: Path, caplog
):
    day, ids = history.ago(40, 3)
    _, brief = history.ago(5, queue="brief")
    rules = [Keep(queue="brief", for_=days(1))]
    retention = Retention(keep=days(30), rules=rules, export=tmp_path / "nowhere")
    removed = await retention.run(chancy_app)
    assert removed.days == ()
    assert "it cannot be written down into" in removed.problems[0]
    assert removed.deleted == len(brief)  # all else goes on
    assert history.ids() == set(ids)
    (tmp_path / "nowhere").mkdir()
    assert (await retention.run(chancy_app)).days == (day,)


async def test_a_disk_that_is_full_midway_leaves_nothing_behind(
    chancy_app: Chancy, history: History, retention: Retention, tmp_path: Path, monkeypatch
):
    _, ids = history.ago(40, 5)
    written = []

    def full(part: _Part, lines: object) -> None:
        written.append(lines)
        if len(written) == 3:
            raise OSError(28, "No space left on device")

    with small_batches(1), monkeypatch.context() as patch:
        patch.setattr(_Part, "write", full)
        removed = await retention.run(chancy_app)
    assert "No space left on device" in removed.problems[0]
    assert list(tmp_path.iterdir()) == []
    assert history.ids() == set(ids)
    assert (await retention.run(chancy_app)).days


async def test_one_that_is_interrupted_leaves_nothing_that_counts(
    chancy_app: Chancy, history: History, retention: Retention, tmp_path: Path
):
    day, ids = history.ago(40, 5)
    path = file(tmp_path, history, day)
    (tmp_path / f"{path.name}.abc.part").write_bytes(b"of one that was killed")
    with small_batches(1), anyio.CancelScope() as scope:
        await retention.run(chancy_app, watch=lambda what, rows: scope.cancel())
    assert history.ids() == set(ids)
    assert not path.exists()
    assert (await retention.run(chancy_app)).days == (day,)
    assert len(list(read(path))) == 5
    assert list(tmp_path.iterdir()) == [path]


async def test_a_file_that_is_there_is_not_made_again(
    chancy_app: Chancy, history: History, retention: Retention, tmp_path: Path, monkeypatch
):
    """Written down, and then not dropped: by who died, say."""
    day, ids = history.ago(40, 3)

    async def not_today(*_: object) -> None:
        raise export.NotExported("not today")

    with monkeypatch.context() as patch:
        patch.setattr("chancy_plugins.retention.run.Dropping.drop", not_today)
        with pytest.raises(export.NotExported):
            await retention.run(chancy_app)
    path = file(tmp_path, history, day)
    before = path.stat().st_mtime_ns
    assert history.ids() == set(ids)
    assert (await retention.run(chancy_app)).days == (day,)
    assert path.stat().st_mtime_ns == before
    assert len(list(read(path))) == 3


@pytest.mark.parametrize("what", ["another", "nonsense", "cut", "empty"])
async def test_a_file_of_somebody_elses_keeps_the_day(
    chancy_app: Chancy, history: History, retention: Retention, tmp_path: Path, what: str
):
    day, ids = history.ago(40)
    path = file(tmp_path, history, day)
    head = {"chancy": "history", "format": 1, "installation": str(UUID(int=7)), "day": str(day)}
    whole = gzip.compress(f'{json.dumps(head)}\n{{"rows": 0}}\n'.encode())
    there = {"another": whole, "nonsense": b"mine", "cut": whole[:20], "empty": b""}[what]
    path.write_bytes(there)
    removed = await retention.run(chancy_app)
    assert removed.days == ()
    assert "stays" in removed.problems[0]
    assert path.read_bytes() == there
    assert history.ids() == set(ids)


def test_what_is_not_a_whole_export_is_not_read_as_one(tmp_path: Path):
    head = '{"chancy": "history", "format": 1}\n'
    path = tmp_path / "x.gz"
    for text in (
        *("", "{}", "7", "{", '{"chancy": "history", "format": 2}\n{"rows": 0}\n', head),
        head + '{"id": 1}\n',
        head + '{"id": 1}\n{"rows": 2}\n',
        head + '{"rows": 0}\n{"id": 1}\n',
        head + "{\n",
        head + "7\n",
    ):
        path.write_bytes(gzip.compress(text.encode()))
        with pytest.raises(InvalidValue):
            list(read(path))
    path.write_bytes(b"no gzip")
    with pytest.raises(InvalidValue):
        list(read(path))
    path.write_bytes(gzip.compress(f'{head}{{"id": 1}}\n{{"rows": 1}}\n'.encode()))
    assert list(read(path)) == [{"id": 1}]


async def test_a_connection_that_is_cut_midway_costs_the_file(
    chancy_app: Chancy, chancy_dsn: str, retention: Retention, tmp_path: Path
):
    with psycopg.connect(chancy_dsn, autocommit=True) as conn:
        history = History(conn)
        day, ids = history.ago(40, 5)

        def cut(what: str, rows: int) -> None:
            conn.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

        with small_batches(2), suppress(psycopg.OperationalError):
            await retention.run(chancy_app, watch=cut)
        path = file(tmp_path, history, day)
        assert list(tmp_path.iterdir()) == ([path] if path.exists() else [])
        assert path.exists() or history.ids() == set(ids)
        await retention.run(chancy_app)
        assert history.ids() == set()
        assert len(list(read(file(tmp_path, history, day)))) == 5
