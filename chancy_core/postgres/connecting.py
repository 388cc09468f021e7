"""The way to a session: names, addresses, attempts, and how long each may take."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import anyio
import psycopg
from psycopg.conninfo import conninfo_attempts, make_conninfo

from chancy_core.postgres.failures import ConnectTimeout
from chancy_core.postgres.private import hosts, is_name
from chancy_core.postgres.waiting import drive_connecting

C = TypeVar("C")
Settings = dict[str, Any]

CONNECT_TIMEOUT = 10.0  # seconds for each address, if nobody says
# A peer that is gone without a word is noticed after 10 + 3 * 5 seconds of silence.
KEEPALIVE = {
    "keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
}  # fmt: skip

logger = logging.getLogger("chancy.postgres")


def settings(
    params: Mapping[str, Any],
    *,
    connect_timeout: float | None,
    tcp_user_timeout: float | None,
    application_name: str | None,
) -> Settings:
    """What libpq is told: what was given wins over our defaults."""
    result: Settings = {**KEEPALIVE, **params}
    if connect_timeout is not None:
        result["connect_timeout"] = connect_timeout
    if tcp_user_timeout is not None:
        result.setdefault("tcp_user_timeout", max(1, int(tcp_user_timeout * 1000)))
    if application_name is not None:
        result["application_name"] = application_name
    return result


async def first_that_accepts(generator: Callable[[str], Any], params: Settings) -> Any:
    """Try each address in order; raise the last error, which tells of all, if none accepts."""
    limit = _limit(params)
    errors: list[tuple[str, psycopg.Error]] = []
    for attempt in await _attempts(params, limit):
        name = attempt.get("host") or attempt.get("hostaddr") or "the default socket"
        where = f"{name}, port {attempt.get('port') or '5432'}"
        try:
            with anyio.move_on_after(limit):
                return await _connect(generator, attempt)
            errors.append((where, ConnectTimeout(f"no answer within {limit:g} s from {where}")))
        except psycopg.Error as error:
            errors.append((where, error))
        logger.debug("connecting to %s failed: %s", where, errors[-1][1])
    last = errors[-1][1]
    if len(errors) > 1:
        lines = [f"- {where}: {error}" for where, error in errors]
        message = "\n".join([str(last), "No host could be used. Each attempt:", *lines])
        last = type(last)(message)
    raise last.with_traceback(None)


async def _connect(generator: Callable[[str], Any], attempt: Settings) -> Any:
    """One attempt. One that is given up drops its socket at once."""
    # libpq wants whole seconds; the deadline here is ours.
    steps = generator(make_conninfo("", **{**attempt, "connect_timeout": None}))
    try:
        return await drive_connecting(steps)
    finally:
        steps.close()


def _limit(params: Settings) -> float:
    value = params.get("connect_timeout", CONNECT_TIMEOUT)
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        msg = f"connect_timeout is a number of seconds, not {value!r}"
        raise psycopg.ProgrammingError(msg) from None
    return seconds if seconds > 0 else CONNECT_TIMEOUT


async def _attempts(params: Settings, limit: float) -> list[Settings]:
    """One set of parameters for each address. Only names need a thread to be looked up."""
    if not any(is_name(host) for host in hosts(params)):
        return conninfo_attempts(params)
    with anyio.move_on_after(limit):
        return await anyio.to_thread.run_sync(conninfo_attempts, params, abandon_on_cancel=True)
    msg = f"the name of {params.get('host')!r} could not be looked up within {limit:g} s"
    raise ConnectTimeout(msg)
