"""Start or join a PostgreSQL server that comes out of a wheel. Knows nothing of jobs.

    with embedded.join() as lease:         # the user's own, shared by all processes
        psycopg.connect(lease.dsn)

    with embedded.throwaway() as lease:    # a test's own, gone with it
        psycopg.connect(lease.dsn)

A folder holds one cluster and what is needed to share it:

    start.lock        held while it is decided whether a server has to be started or stopped
    supervisor.lock   held by the supervisor for life: the server is looked after
    leases/           a file, locked, for each claim of a living process
    state.json        whom those who join do join
    data/ run/        the cluster; its socket, for its user only (no TCP)
    server.log supervisor.log

All locks are the kernel's (`flock`), and end with their holders.
"""

from chancy_core.embedded.folders import default_folder
from chancy_core.embedded.lease import Lease, Status, join, status, stop
from chancy_core.embedded.temporary import throwaway

__all__ = ["Lease", "Status", "default_folder", "join", "status", "stop", "throwaway"]
