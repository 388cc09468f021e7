"""What the tests of metrics use: both event loops, and a process that has recorded nothing yet."""

from collections.abc import Iterator

import pytest

from chancy_plugins.metrics import process, recording


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    process.here.take()
    recording._tell.cache_clear()
    yield
    process.here.take()
