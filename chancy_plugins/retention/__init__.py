"""Removes finished jobs from the history once they have been kept for long enough.

    from chancy_plugins.retention import Keep, Retention, days

    Chancy(plugins=[Retention(
        keep=days(90), rules=[Keep(state="succeeded", queue="mail", for_=days(1))]
    )])

Installed as it is, it keeps them for 30 days; `CHANCY_RETENTION` says otherwise where workers run.
The rooms: `policy` (who is kept for how long), `calendar` (the days of the history, and what
becomes of each), `statements` and `rows` (what is asked of days, and of their rows), `dropping`
(how a day goes), `export` (files of days), `pace` (how fast), `run` (all that one run does),
`plugin` (`Retention`), `service` and `hooks` (what workers do of it), `command` (`chancy
retention`).
"""

from chancy_plugins.retention.calendar import Day as Day
from chancy_plugins.retention.calendar import Removed as Removed
from chancy_plugins.retention.export import read as read
from chancy_plugins.retention.plugin import Retention as Retention
from chancy_plugins.retention.policy import Keep as Keep
from chancy_plugins.retention.policy import RetentionPolicy as RetentionPolicy
from chancy_plugins.retention.policy import days as days
from chancy_plugins.retention.policy import hours as hours
from chancy_plugins.retention.run import NotAllowed as NotAllowed
