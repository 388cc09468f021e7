import pytest
from chancy import Chancy, Worker

from chancy_acme import place


def test_tags_are_as_the_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_ZONE", "eu-1")
    monkeypatch.delenv("ACME_RACK", raising=False)
    assert list(place.tags()) == ["zone=eu-1"]


async def test_a_worker_has_them(chancy_app: Chancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_RACK", "12")
    async with Worker(chancy_app) as worker:
        assert "rack=12" in worker.tags
