"""The application and the stage of the acceptance tests, and a role without rights."""

from tests.acceptance.conftest import chancy, look, stage  # noqa: F401 - fixtures
from tests.nobody import slow, stranger  # noqa: F401 - fixtures
