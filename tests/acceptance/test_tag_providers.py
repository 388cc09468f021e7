"""Installed tag providers: asked when a worker starts, whatever some of them may do."""

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chancy import Chancy, Queue, Worker
from chancy_core import discovery, installed
from tests.site import Site

pytestmark = pytest.mark.anyio

MODULE = """
import threading

never = threading.Event()

def good(): return {"disk=fast", "rack=7"}
def lazily(): yield "lazy=yes"
def raising(): raise RuntimeError("no such device")
def leaving(): raise SystemExit(3)
def text(): return "disk=fast"
def nothing(): return None
def numbers(): return [1, 2]
def nul(): return {"a\\0b"}
def hanging(): never.wait()
def endless():
    number = 0
    while True:
        yield f"n={(number := number + 1)}"
"""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path))
    discovery.forget()
    made = Site(tmp_path)
    made.module("acme_tags", MODULE)
    yield made
    discovery.forget()
    if "acme_tags" in sys.modules:
        sys.modules.pop("acme_tags").never.set()


async def test_what_providers_know_decides_which_queues_are_run(dsn: str, site: Site) -> None:
    site.install("acme", "good = acme_tags:good", "lazily = acme_tags:lazily", group="chancy.tags")
    async with Chancy(dsn) as chancy:
        queue = await chancy.declare(Queue("fast", executor="async", tags={"disk=fast"}))
        worker = Worker(chancy, tags={"own=1"}, name="w")
        before = worker.tags
        assert "disk=fast" not in before
        async with worker:
            assert before | {"disk=fast", "rack=7", "lazy=yes"} <= worker.tags
            assert any(tag.startswith("cpus=") for tag in worker.tags)
            (info,) = await chancy.get_all_workers()
            assert info.tags == worker.tags
            assert info.matches(queue)
            assert not info.matches(queue.options(tags={"disk=slow"}))


BAD = {
    "raising": "RuntimeError: no such device",
    "leaving": "SystemExit: 3",
    "text": "tags must be a set",
    "nothing": "tags must be a set",
    "numbers": "a tag is a string",
    "nul": "NUL",
    "endless": "at most 1,000 tags",
    "missing": "AttributeError",
}


async def test_a_provider_that_fails_is_named_and_left_out(
    dsn: str, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.install(
        "acme-bad",
        *(f"{name} = acme_tags:{name}" for name in BAD),
        "same = one",
        group="chancy.tags",
    )
    site.install("acme-good", "good = acme_tags:good", "same = two", group="chancy.tags")
    async with Chancy(dsn) as chancy, Worker(chancy) as worker:
        assert {"disk=fast", "rack=7"} <= worker.tags
        assert not [tag for tag in worker.tags if tag.startswith("n=")]
    told = {
        name: record
        for record in caplog.records
        for name in (*BAD, "same")
        if record.levelno == logging.ERROR and f"tags of {name!r}" in record.getMessage()
    }
    assert set(told) == {*BAD, "same"}
    for name, said in BAD.items():
        text = told[name].getMessage() + (told[name].exc_text or "")
        assert "acme-bad 1.0" in text
        assert said in text, name
    assert "acme-bad 1.0" in told["same"].getMessage()
    assert "acme-good 1.0" in told["same"].getMessage()


async def test_who_does_not_answer_is_not_waited_for(
    dsn: str, site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(installed, "PATIENCE", 0.5)
    hang = [f"hang{number} = acme_tags:hanging" for number in range(5)]
    site.install("acme-slow", *hang, "good = acme_tags:good", group="chancy.tags")
    async with Chancy(dsn) as chancy:
        since = time.monotonic()
        async with Worker(chancy) as worker:
            assert time.monotonic() - since < 2  # not five times as long
            assert "disk=fast" in worker.tags
    said = [r.getMessage() for r in caplog.records if "has not answered" in r.getMessage()]
    assert len(said) == 5
    assert "'hang0' of acme-slow 1.0: it has not answered in 0.5 seconds" in said[0]


async def test_who_is_kept_out_is_not_asked(
    dsn: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("acme", "good = acme_tags:good", group="chancy.tags")
    monkeypatch.setenv("CHANCY_DISABLED_PLUGINS", "chancy.tags:good,host")
    async with Chancy(dsn) as chancy, Worker(chancy) as worker:
        assert not [tag for tag in worker.tags if tag.startswith(("disk=", "cpus="))]
    assert "acme_tags" not in sys.modules
