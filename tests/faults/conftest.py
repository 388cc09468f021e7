"""Databases that can be attacked."""

from collections.abc import Iterator

import pytest

from chancy import Chancy
from tests.faults.cluster import Cluster, running
from tests.faults.wire import Wire, wire


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A server of the test's own, with our tables."""
    with running() as cluster:
        with Chancy(cluster.dsn) as chancy:
            chancy.sync_migrate()
        yield cluster


@pytest.fixture
def way(cluster: Cluster) -> Iterator[Wire]:
    """A wire to that server."""
    with wire(("127.0.0.1", cluster.port)) as made:
        yield made
