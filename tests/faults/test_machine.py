"""Whatever steps are taken, in whatever order, the tables are those of a plain model.

Hypothesis invents runs of steps over the real store (`tests/faults/machine`): what applications,
operators and workers do, and what befalls them, among it connections that break before a
statement or after a commit, workers that freeze and come back, and a clock that moves. After each
step the laws I1, I2, I4 to I9, I11 and I12 must hold, and the tables must be those of the model.

How a failure is read: Hypothesis prints the shortest run of steps that it has found, a program
that ends in `state.teardown()`; the assertion above it begins with the law that was broken, or
lists the columns that differ from the model's, as `(found, expected)`. A worker is
shown by its number among those that could take the step, a job as its UUID; `cut_the_next(after=1)`
has the next step's connection break after its first statement. The runs of each change are always
the same; those before a release are others each time, from a seed that the report names, and that
`CHANCY_FAULTS_SEED` brings back.
"""

import os
import random
from collections.abc import Iterator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.machine.rig import Rig
from tests.faults.machine.working import Working
from tests.faults.sizes import figure, size

pytestmark = [pytest.mark.faults, pytest.mark.timeout(size(300, 7200))]

RUNS = size(100, 1000)
STEPS = size(50, 100)
#: The runs of each change are the same each time, and others on each loop.
SEEDS = size({"asyncio": 1, "trio": 2}, dict.fromkeys(("asyncio", "trio"), random.getrandbits(64)))
SETTINGS = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS,
    deadline=None,  # a connection that is opened anew takes its time
    database=None,
    print_blob=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],  # a step is three times on the wire and back
)


@pytest.fixture
def portal(anyio_backend: str) -> Iterator[BlockingPortal]:
    with start_blocking_portal(anyio_backend) as portal:
        yield portal


def test_the_store_is_what_its_model_is(
    dsn: str, portal: BlockingPortal, anyio_backend: str
) -> None:
    rig = Rig(dsn, portal)
    done: dict[str, int] = {}
    machine = type("Machine", (Working,), {"rig": rig, "done": done})
    chosen = int(os.environ.get("CHANCY_FAULTS_SEED") or SEEDS[anyio_backend])
    figure(f"machine, {anyio_backend}: seed", chosen)
    try:
        run_state_machine_as_test(seed(chosen)(machine), settings=SETTINGS)
    finally:
        rig.close()
        figure(f"machine, {anyio_backend}: runs x steps", f"{RUNS} x {STEPS}")
        for what, number in sorted((done | {"connections broken": rig.broken}).items()):
            figure(f"machine, {anyio_backend}: {what}", number)
