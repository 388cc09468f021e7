"""The plugin `retention`, as workers find it: 30 days for all, unless somebody says otherwise."""

from collections.abc import Iterable

from chancy_core.hookspecs import hookimpl
from chancy_core.host import Service, WorkerHost
from chancy_plugins.retention.plugin import Retention, given
from chancy_plugins.retention.service import service


@hookimpl
def chancy_worker_services(worker: WorkerHost) -> Iterable[Service] | None:
    """Remove what may go, unless the application was given a `Retention` that does."""
    return None if given(worker.chancy) else [service(worker, Retention.silent())]
