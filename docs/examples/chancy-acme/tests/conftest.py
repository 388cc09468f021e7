"""Each coroutine is tested on both event loops; the other fixtures come with Chancy."""

import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)
