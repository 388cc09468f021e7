"""The application and the stage of the acceptance tests."""

from tests.acceptance.conftest import chancy, look, server_home, stage  # noqa: F401 - fixtures
from tests.nobody import slow, stranger  # noqa: F401 - fixtures
