"""What the tests of workflows use: both event loops, and jobs that need nothing but the plugin.

These tests use nothing but what is installed.
"""

import pytest

from chancy import Chancy
from chancy_plugins.workflow import Workflows
from tests.plugins.workflow.flows import failing


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def workflows(chancy_app: Chancy) -> Workflows:
    return Workflows(chancy_app)


@pytest.fixture(autouse=True)
def _all_is_well() -> None:
    failing.clear()
