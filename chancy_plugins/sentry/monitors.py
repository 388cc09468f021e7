"""The runs of cron entries, checked in: each entry is a monitor."""

import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any
from uuid import UUID

from sentry_sdk.crons import capture_checkin
from sentry_sdk.crons.consts import MonitorStatus

from chancy_core.errors import InvalidValue
from chancy_core.host import Application
from chancy_core.job import QueuedJob, State
from chancy_core.outcome import Settlement
from chancy_plugins.cron import statements
from chancy_plugins.cron.entry import META
from chancy_plugins.cron.schedule import fields_of

#: The most characters of a monitor's slug.
_LONGEST = 50
#: Seconds for which what is known of an entry's schedule is believed.
_KNOWN = 300.0
#: How many runs, and entries, are remembered.
_MOST = 1_000


class Monitors:
    """Checks in the jobs of cron: each is under way from its first attempt on, until it has ended.

    All attempts at a job are one check-in, whichever workers make them.
    """

    def __init__(self) -> None:
        self._began: OrderedDict[UUID, float] = OrderedDict()
        self._schedules: OrderedDict[str, tuple[float, dict[str, Any] | None]] = OrderedDict()

    async def begin(self, job: QueuedJob, app: Application) -> None:
        """Say that a run is under way."""
        key = key_of(job)
        if key is None:
            return
        config = await self._config(key, app)
        if config is None:
            return
        _remember(self._began, job.id, time.monotonic())
        capture_checkin(
            monitor_slug=slug(key),
            check_in_id=job.id.hex,
            status=MonitorStatus.IN_PROGRESS,
            monitor_config=config,  # type: ignore[arg-type]
        )

    def end(self, one: Settlement) -> None:
        """Say how a run has ended, if it has."""
        key, began = key_of(one.job), self._began.get(one.job.id)
        if key is None or began is None or not one.verdict.state.finished:
            return
        del self._began[one.job.id]
        succeeded = one.verdict.state is State.SUCCEEDED
        capture_checkin(
            monitor_slug=slug(key),
            check_in_id=one.job.id.hex,
            status=MonitorStatus.OK if succeeded else MonitorStatus.ERROR,
            duration=time.monotonic() - began,
        )

    async def _config(self, key: str, app: Application) -> dict[str, Any] | None:
        """Return the schedule of an entry, as Sentry has it; None if it has none such."""
        known = self._schedules.get(key)
        if known is not None and time.monotonic() - known[0] < _KNOWN:
            return known[1]
        found = await app.database.run(statements.entries(app.names, key))
        config = schedule(found[0].expression, found[0].tz) if found else None
        _remember(self._schedules, key, (time.monotonic(), config))
        return config


def _remember(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    kept[key] = value
    while len(kept) > _MOST:
        kept.popitem(last=False)


def key_of(job: QueuedJob) -> str | None:
    """Return the key of the entry that a job is a run of; None for one that somebody asked for."""
    told = job.meta.get(META)
    if not isinstance(told, Mapping) or told.get("triggered"):
        return None
    key = told.get("key")
    return key if isinstance(key, str) else None


def slug(key: str) -> str:
    """Return how the monitor of an entry is called: letters, digits, dashes and underscores."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", key.lower()).strip("-")
    if plain == key and len(plain) <= _LONGEST:
        return plain
    mark = blake2b(key.encode(), digest_size=3).hexdigest()  # no two entries are one monitor
    return f"{plain[: _LONGEST - len(mark) - 1]}-{mark}".strip("-")


def schedule(expression: str, tz: str) -> dict[str, Any] | None:
    """Return a schedule as Sentry has it: by the minute, so that one with seconds has none."""
    try:
        fields = fields_of(expression).split()
    except InvalidValue:
        return None
    if len(fields) == 6 and fields.pop(0) != "0":
        return None
    return {"schedule": {"type": "crontab", "value": " ".join(fields)}, "timezone": tz}
