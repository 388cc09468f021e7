"""Has one worker of all do what is to be done once: `led`, for plugins of anybody's.

    from chancy_plugins.leadership import led

    @hookimpl
    def chancy_worker_services(worker):
        return [led(worker, "acme.sweep", sweep)]

`leaders` says who leads what. The rooms: `term` (values: a term, its fence, a leader),
`statements` (the table), `campaign` (what a worker does to lead, and while it leads), `door` (a
duty as a service), `hooks` (what it hears from others), `command` (`chancy leaders`).
"""

from chancy_plugins.leadership.campaign import Duty as Duty
from chancy_plugins.leadership.campaign import leaders as leaders
from chancy_plugins.leadership.door import led as led
from chancy_plugins.leadership.term import Leader as Leader
from chancy_plugins.leadership.term import Term as Term
from chancy_plugins.leadership.term import TermOver as TermOver
