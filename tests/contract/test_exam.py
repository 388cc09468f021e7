"""The exam for executors: ours pass it, and each of the nine bad ones is rejected where it errs."""

import pytest

from chancy_core import discovery
from chancy_core.errors import ExamFailed
from chancy_core.executor import Executor
from chancy_core.testing import check_executor
from chancy_core.testing.exam.bad import BAD, ForgetsChildren, Right, tidy


@pytest.fixture(autouse=True)
def _tidied():
    yield
    tidy()


@pytest.mark.parametrize(
    "name", ["async", "thread", pytest.param("process", marks=pytest.mark.slow)]
)
async def test_ours_pass(name: str) -> None:
    await check_executor(discovery.load("chancy.executors", name))


async def test_what_the_bad_ones_are_made_from_passes() -> None:
    await check_executor(Right)


def patience(made: type[Executor]) -> float:
    """As little as will do: children take a while to start."""
    return 5 if issubclass(made, ForgetsChildren) else 0.5


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(made, id=made.__name__, marks=[pytest.mark.slow] * (patience(made) > 1))
        for made in BAD
    ],
)
async def test_a_bad_one_is_rejected_by_the_parts_that_are_about_its_mistake(
    made: type[Executor],
) -> None:
    with pytest.raises(ExamFailed) as failed:
        await check_executor(made, patience=patience(made))
    print(failed.value)
    assert tuple(failed.value.failures) == BAD[made], failed.value
