"""The server of a benchmark: one that waits for its disk, as those do that people trust."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from chancy_core import embedded

#: Counts statements, but only in a database that asks for it.
COUNTING = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "none",
    "max_connections": "200",
}


@contextmanager
def durable_server() -> Iterator[str]:
    """The DSN of CHANCY_DSN's server, or of a throw-away one that does wait for its disk."""
    if told := os.environ.get("CHANCY_DSN"):
        yield told
        return
    safe = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
    with embedded.throwaway(settings=safe | COUNTING | {"autovacuum": "on"}) as lease:
        yield lease.dsn
