"""Runs jobs whenever the clocks of a time zone show certain times: each once, in the whole cluster.

from chancy_plugins.cron import cron

@cron("0 3 * * *", tz="Europe/Paris")
@job(queue="reports")
async def nightly() -> None: ...

`Cron` changes entries while workers work. The rooms: `zones` and `schedule` (when something is to
run), `missed` (what becomes of runs that nobody could begin), `entry` (values), `statements` (the
tables), `firing` (how due runs are begun), `service` and `hooks` (what workers do of it),
`declared` (`@cron`), `calls` (`Cron`), `words` and `command` (`chancy cron`).
"""

from chancy_plugins.cron.calls import Cron as Cron
from chancy_plugins.cron.declared import cron as cron
from chancy_plugins.cron.entry import CronNotFound as CronNotFound
from chancy_plugins.cron.entry import Entry as Entry
from chancy_plugins.cron.entry import Fire as Fire
from chancy_plugins.cron.entry import Listed as Listed
from chancy_plugins.cron.missed import catch_up as catch_up
from chancy_plugins.cron.schedule import Schedule as Schedule
