"""Services that hang, that say so, and that go on."""

import logging

import anyio
import pytest

from chancy_core import supervise
from chancy_core.hooks import Plugin
from chancy_core.host import Service
from chancy_core.plugins import faults
from chancy_core.plugins.faults import Faults

pytestmark = pytest.mark.anyio


def plugin() -> Plugin:
    return Plugin("acme", "acme 1.0", object())


async def test_one_that_is_silent_for_too_long_is_named_and_begins_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "FIRST", 0.01)
    begun: list[int] = []
    twice = anyio.Event()

    async def hang() -> None:
        begun.append(1)
        if len(begun) == 3:
            twice.set()
        await anyio.sleep_forever()

    who = plugin()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise.supervise, who, Service("keep", hang, patience=0.05))
        with anyio.fail_after(10):
            await twice.wait()
        tasks.cancel_scope.cancel()
    assert who.faults["its service 'keep'"] >= 2
    assert "its service 'keep' is left out: it was not heard of for 0.05 s" in caplog.text


async def test_one_that_says_so_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def keep() -> None:
        for _ in range(20):
            await anyio.sleep(0.05)
            service.beat()

    service, who = Service("keep", keep, patience=0.5), plugin()
    with anyio.fail_after(20):
        await supervise.supervise(who, service)
    assert not who.faults


async def test_one_that_makes_no_promise_may_be_silent() -> None:
    async def keep() -> None:
        await anyio.sleep(0.1)

    who = plugin()
    await supervise.supervise(who, Service("keep", keep))
    assert not who.faults


async def test_what_keeps_it_from_its_work_is_told_until_it_works(
    caplog: pytest.LogCaptureFixture,
) -> None:
    who, service = plugin(), Service("keep", anyio.sleep_forever)
    told = Faults(lambda: [who], lambda: [(who, service)])
    assert told.told() == faults.NOTHING
    service.beat("its tables are not there")
    version, text = told.told()
    assert '"times": 0, "said": "its tables are not there"' in text
    service.beat()
    assert told.told() == faults.NOTHING
    assert version != faults.NOTHING[0]


def test_the_last_faults_are_told_and_nothing_is_new_unless_one_is() -> None:
    who = plugin()
    told = Faults(lambda: [who], list)
    for number in range(faults.MOST + 5):
        who.blame(f"chancy_{number}", "no" * 500)
    version, text = told.told()
    assert text.count('"hook"') == faults.MOST
    assert f"chancy_{faults.MOST + 4}" in text
    assert len(text) < 6_000
    assert told.told()[0] == version
    who.blame("chancy_1", ValueError("\0 \ud800"))
    assert told.told()[0] != version
    assert "\\u0000" not in told.told()[1]


def test_a_look_at_them_costs_nothing_whatever_it_meets(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> list[Plugin]:
        raise RuntimeError("no")

    assert Faults(broken, list).told() == faults.NOTHING
    assert "cannot tell which plugins have failed" in caplog.text


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_fault_whose_text_cannot_be_read_is_one_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    who = plugin()
    who.blame("chancy_configure", Unreadable())
    assert who.faults["chancy_configure"] == 1
