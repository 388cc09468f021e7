"""What every test can ask for: an event loop of either kind, and a database of its own.

The fixtures are those of the testing kit, by shorter names. With `CHANCY_TEST_ROLES` set, tests
connect to their database as a role that may what the roles push and work may, and no more.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from chancy_core import registry
from tests import roles
from tests.dask_cluster import dask, dask_cluster  # noqa: F401 - fixtures
from tests.pooled import chancy_dsn, pooler  # noqa: F401 - fixtures
from tests.site import site  # noqa: F401 - a fixture

# A busy machine is no error: what is too slow is for the benchmarks to say.
settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, *settings().suppress_health_check],
)
settings.load_profile("patient")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def server(chancy_server: str) -> str:
    return chancy_server


@pytest.fixture(scope="session")
def least(server: str) -> Iterator[roles.Least | None]:
    """The role as which tests connect, if it is not the one that made their database."""
    if not os.environ.get("CHANCY_TEST_ROLES"):
        yield None
        return
    with roles.least(server) as least:
        yield least


@pytest.fixture(scope="session")
def chancy_prepare(least: roles.Least | None) -> Callable[[str], None]:
    return least.prepare if least else lambda _: None


@pytest.fixture
def empty_dsn(chancy_empty_dsn: str) -> str:
    return chancy_empty_dsn


@pytest.fixture
def dsn(
    request: pytest.FixtureRequest,
    chancy_dsn: str,  # noqa: F811 - that fixture
    least: roles.Least | None,
) -> str:
    if least is None or roles.needs_owner(request.node.nodeid):
        return chancy_dsn
    return least.dsn(chancy_dsn)


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a test register what it likes: nobody knows of it, or of its modules, afterwards."""
    monkeypatch.setattr(registry, "_functions", {})
    monkeypatch.setattr(registry, "_modules", {})
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long, unless it is asked for: attacks, and slow tests.

    Attacks by their marker or their path, slow tests by any markers or by their file.
    """
    markers, paths = config.option.markexpr, config.args
    out = set()
    if "faults" not in markers and not any("faults" in path for path in paths):
        out.add("faults")
    if not markers and not any(Path(path.split("::")[0]).suffix == ".py" for path in paths):
        out.add("slow")
    left = [item for item in items if out.intersection(mark.name for mark in item.iter_markers())]
    config.hook.pytest_deselected(items=left)
    gone = set(left)
    items[:] = [item for item in items if item not in gone]
