"""The application of the kit's tests, known to its jobs."""

import pytest

from chancy import Chancy
from tests.kit import jobs


@pytest.fixture(autouse=True)
def said():
    jobs.said.clear()
    return jobs.said


@pytest.fixture
def chancy_under_test(chancy_dsn: str):
    jobs.app[:] = [Chancy(chancy_dsn)]
    yield jobs.app[0]
    jobs.app.clear()
