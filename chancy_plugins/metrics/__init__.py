"""Counts and measures what becomes of jobs, and whatever applications record, for over a year.

    from chancy_plugins.metrics import Metrics, count, gauge, observe

    count("acme.mails", labels={"country": "fr"})       # in a job, or anywhere else
    await Metrics(chancy).query("jobs.duration", by=["queue"])

Each worker counts in memory and adds rows to the database now and then; one of them merges these
into points of time. The rooms: `key`, `buckets`, `tally` and `jobs` (what is recorded), `outbox`,
`recorder`, `process` and `recording` (where, and how it is kept until it is written), `statements`
and `counting` (the tables), `service` and `leading` (what workers do of it, each and one for all),
`reading`, `series` and `calls` (`Metrics`), `words` and `command` (`chancy metrics`).
"""

from chancy_plugins.metrics.calls import Metrics as Metrics
from chancy_plugins.metrics.key import MetricKind as MetricKind
from chancy_plugins.metrics.reading import Count as Count
from chancy_plugins.metrics.reading import Named as Named
from chancy_plugins.metrics.recording import count as count
from chancy_plugins.metrics.recording import gauge as gauge
from chancy_plugins.metrics.recording import observe as observe
from chancy_plugins.metrics.series import Point as Point
from chancy_plugins.metrics.series import Series as Series
