"""What the server has undone for the sake of others is run once more."""

import psycopg
import pytest

from chancy_core.store import running


class Undone:
    """Undone so many times, and then it answers."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.tried = 0

    def sync(self) -> str:
        self.tried += 1
        if self.tried <= self.times:
            raise psycopg.errors.SerializationFailure("could not serialize access")
        return "answer"

    async def run(self) -> str:
        return self.sync()


async def test_what_was_undone_is_run_again_until_it_answers():
    undone = Undone(3)
    assert await running.persist(undone.run) == "answer"
    assert running.persist_sync(Undone(3).sync) == "answer"
    assert undone.tried == 4


async def test_it_is_not_run_for_ever(monkeypatch):
    monkeypatch.setattr(running, "AGAIN", 2)
    undone = Undone(9)
    with pytest.raises(psycopg.errors.SerializationFailure):
        await running.persist(undone.run)
    assert undone.tried == 3
    with pytest.raises(psycopg.errors.SerializationFailure):
        running.persist_sync(undone.sync)


async def test_what_may_have_been_done_is_not_run_again():
    tried = []

    async def cut() -> None:
        tried.append(1)
        raise psycopg.OperationalError("the connection was lost")

    with pytest.raises(psycopg.OperationalError):
        await running.persist(cut)
    assert len(tried) == 1
