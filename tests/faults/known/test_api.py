"""What applications call does what the page says, and a row names a function, not a path."""

import sys

import anyio
import pytest

from chancy import Chancy, Job, Queue, State, Worker, job

pytestmark = [pytest.mark.faults, pytest.mark.anyio]


@job(name="known.double", queue="q")
def double(number: int) -> int:
    return 2 * number


async def test_decorated_functions_are_pushed_as_the_pages_say(chancy: Chancy, dsn: str):
    """W24: `sync_push` of a decorated function, and `await push_many([...])`, raised."""
    await chancy.declare(Queue("q", executor="thread"), upsert=True)

    def from_a_thread() -> list[object]:
        with Chancy(dsn) as other:
            return [
                double.sync_push(other, number=1),
                other.sync_push(double.bind(2)),
                *other.sync_push_many([double.bind(3)]),
            ]

    references = await anyio.to_thread.run_sync(from_a_thread)
    references += await chancy.push_many([double.bind(4), double.bind(5)])
    references.append(await double.push(chancy, number=6))
    async with Worker(chancy):
        jobs = await chancy.wait_for_jobs(references, timeout=20)
    assert [one.result() for one in jobs] == [2, 4, 6, 8, 10, 12]


async def test_many_that_nobody_pushes_are_told_of(chancy: Chancy):
    """W24: `push_many` without an iteration pushed nothing, and said nothing."""
    with pytest.warns(RuntimeWarning, match="push_many"):
        chancy.push_many([double.bind(1)])
    assert (await chancy.list_jobs()).jobs == []


@pytest.mark.parametrize("executor", ["async", "thread", "process"])
async def test_a_path_is_no_name(chancy: Chancy, tmp_path, executor: str):
    """s1-path: a job named `asyncio.create_subprocess_shell` ran a shell command on the worker."""
    await chancy.declare(Queue(executor, executor=executor))
    proof = tmp_path / "ran"
    paths = {
        "asyncio.create_subprocess_shell": {"cmd": f"touch {proof}"},
        "os.system": {"command": f"touch {proof}"},
        "antigravity": {},
    }
    asked = [Job(func, queue=executor, kwargs=kwargs) for func, kwargs in paths.items()]
    async with Worker(chancy):
        references = await chancy.push_many(asked)
        jobs = await chancy.wait_for_jobs(references, timeout=20, states=["scheduled"])
    assert {(one.state, one.attempts) for one in jobs} == {(State.SCHEDULED, 0)}
    assert {one.errors[0].kind for one in jobs} == {"unknown-function"}
    assert not proof.exists()
    assert "antigravity" not in sys.modules
