"""Pushes jobs of every kind until it is killed or told to stop, and records what was acknowledged.

The release before this one runs it too.

python -m tests.faults.producer DSN RECORD NAME
"""

import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg

from chancy import Chancy, Job
from tests.faults.record import say

#: How the jobs of one batch differ; for a key, whoever comes first wins.
KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"priority": 5},
    {"max_attempts": 3},
    {"at_most_once": True},
    {"unique_key": "one"},
    {"unique_key": "another"},
    {"scheduled_at": timedelta(seconds=0.5)},
)


def _jobs(to: str, name: str) -> list[Job]:
    jobs = []
    for number, kind in enumerate(KINDS):
        options = dict(kind)
        if later := options.get("scheduled_at"):
            options["scheduled_at"] = datetime.now(UTC) + later
        told = {"to": to, "label": f"{name}-{number}", "seconds": 0.02}
        jobs.append(Job("faults.work", kwargs=told, queue="q", **options))
    told = {"to": to, "label": f"{name}-fails"}
    jobs.append(Job("faults.fail", kwargs=told, queue="q", max_attempts=2))
    return jobs


def main(dsn: str, to: str, name: str) -> None:
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    with Chancy(dsn) as chancy:
        for batch in count():
            if stopped:
                break
            jobs = _jobs(to, f"{name}-{batch}")
            labels = [job.kwargs["label"] for job in jobs]
            say(to, "pushing", labels=labels)
            try:
                references = chancy.sync_push_many(jobs)
            except psycopg.OperationalError:  # nothing of it was acknowledged
                continue
            for reference, label in zip(references, labels, strict=True):
                if reference.new:
                    say(to, "acked", job=reference.id, label=label)
            time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
