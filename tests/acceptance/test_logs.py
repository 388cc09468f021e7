"""What is said goes to loggers of the standard library, and nobody's settings are changed."""

import logging

import pytest

from chancy import Chancy, Worker

pytestmark = pytest.mark.anyio


async def test_all_is_said_to_loggers_below_chancy(chancy: Chancy, caplog):
    caplog.set_level(logging.INFO, logger="chancy")
    async with Worker(chancy, name="w-7"):
        pass
    said = [(record.name, record.getMessage()) for record in caplog.records]
    assert ("chancy.worker", "worker w-7 has stopped") in said
    assert {name.partition(".")[0] for name, _ in said} == {"chancy"}
    loggers = [name for name in logging.root.manager.loggerDict if name.startswith("chancy")]
    for name in loggers:
        assert logging.getLogger(name).handlers == []
        assert logging.getLogger(name).propagate
