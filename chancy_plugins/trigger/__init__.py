"""Has statements that change a table push jobs: together with the change, or not at all.

    from chancy_plugins.trigger import Trigger

    await Trigger(chancy).declare("orders", "orders", on=["INSERT"], job=ship, rows=100)

The rooms: `watch` (values: what is asked for, and what is stored), `statements` (the tables),
`calls` (`Trigger`); what happens when a table changes is a function of its migration line.
"""

from chancy_plugins.trigger.calls import Trigger as Trigger
from chancy_plugins.trigger.watch import Listed as Listed
from chancy_plugins.trigger.watch import TriggerNotFound as TriggerNotFound
from chancy_plugins.trigger.watch import TriggerRefused as TriggerRefused
