"""What the tests of cron use: both event loops, and code whose entries are forgotten afterwards.

These tests use nothing but what is installed: copied with the plugin, they pass elsewhere.
"""

from collections.abc import Iterator

import pytest

from chancy_core import registry
from chancy_plugins.cron import declared


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def code() -> Iterator[None]:
    """Functions that the test registers are no longer registered after it."""
    known, marked = dict(registry._functions), dict(declared._marked)
    yield
    for kept, before in ((registry._functions, known), (declared._marked, marked)):
        kept.clear()
        kept.update(before)
