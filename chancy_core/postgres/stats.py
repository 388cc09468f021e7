"""How a pool is doing."""

import attrs


@attrs.frozen
class PoolStats:
    """What a pool has, and what it has been through since it was opened."""

    min_size: int
    max_size: int
    size: int
    """Connections that are open."""
    idle: int
    in_use: int
    opening: int
    waiting: int
    """Tasks that wait for a connection."""
    requests: int
    """Connections asked for, of which `queued` had to wait."""
    queued: int
    timeouts: int
    opened: int
    discarded: int
    connect_errors: int
    last_error: str | None
