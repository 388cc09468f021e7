"""The peers: what is installed for each, in an environment of its own, and what runs there.

Each has the configuration of its own benchmark; its script says which.
"""

from pathlib import Path
from typing import Literal

from attrs import field, frozen

HERE = Path(__file__).parent


@frozen
class Peer:
    """One system beside ours."""

    name: str
    script: str
    #: What pip or npm installs, pinned: the newest when the figures were taken.
    packages: tuple[str, ...]
    language: Literal["Python", "Node"] = "Python"
    #: The oldest Python, or Node, that it runs on.
    oldest: tuple[int, int] = (3, 11)
    environment: dict[str, str] = field(factory=dict)
    #: How many of a cell's jobs it gets: the slow ones would take minutes.
    share: float = 1.0

    @property
    def path(self) -> Path:
        """Where its script is."""
        return HERE / self.script


PEERS = (
    Peer("chancy 0.26", "chancy_side.py", ("chancy==0.26.0",), share=0.1),
    Peer(
        "pgqueuer, asyncpg",
        "pgqueuer_side.py",
        ("pgqueuer[asyncpg,psycopg]==1.6.0", "uvloop==0.23.0"),
        share=0.3,
    ),
    Peer(
        "pgqueuer, psycopg",
        "pgqueuer_side.py",
        ("pgqueuer[asyncpg,psycopg]==1.6.0", "uvloop==0.23.0"),
        environment={"CHANCY_BENCHMARK_DRIVER": "psycopg"},
        share=0.3,
    ),
    Peer("procrastinate", "procrastinate_side.py", ("procrastinate==3.10.0",), share=0.05),
    Peer("oban", "oban_side.py", ("oban==0.7.0",), oldest=(3, 12), share=0.1),
    Peer("awa", "awa_side.py", ("awa-pg==0.6.9",), share=0.3),
    Peer(
        "graphile-worker (Node)",
        "graphile_side.mjs",
        ("graphile-worker@0.18.0", "pg@8.23.1"),
        language="Node",
        oldest=(20, 0),
    ),
    Peer(
        "pg-boss (Node)",
        "pgboss_side.mjs",
        ("pg-boss@12.38.0", "pg@8.23.1"),
        language="Node",
        oldest=(22, 12),
    ),
)
