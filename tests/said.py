"""Jobs that log by structlog, and no more: sub-interpreters import them too."""

import logging
from typing import Any

import anyio
import structlog

from chancy import job
from chancy_plugins import log_context


@job(queue="q")
def say() -> list[dict[str, Any]]:
    """Return what structlog makes of an event here."""
    return _said()


@job(queue="q")
async def say_async() -> list[dict[str, Any]]:
    await anyio.sleep(0)
    return _said()


def _said() -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []

    def keep(_: Any, __: str, event: Any) -> Any:
        said.append(dict(event))
        raise structlog.DropEvent

    log = structlog.wrap_logger(
        logging.getLogger("acme.watched"),
        processors=[log_context.structlog_processor, keep],
        wrapper_class=structlog.BoundLogger,
    )
    log.warning("hello", tenant=7)
    log.warning("again", queue="theirs")
    return said
