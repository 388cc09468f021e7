"""A workflow of many steps, and many of a few, on workers that are killed at it: each step once."""

import time

import pytest

from chancy import Chancy, Job, Queue
from chancy_plugins.workflow import Workflow, Workflows
from tests.faults.sizes import figure, size
from tests.fleet import Fleet, until

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(900)]

#: Steps of the one, and workflows of ten; before a release 10,000 and 1,000.
STEPS, FLOWS = size(1_500, 10_000), size(150, 1_000)
#: How often a worker is killed, and how long all live at least after the last.
KILLS, PAUSE = 8, 1.0
TICK = Job("member.tick", queue="q")


def large() -> Workflow:
    """Layers of fifty, each after all of the last; the first is one step, and so is the last."""
    flow = Workflow("large")
    before = [flow.add("first", TICK).name]
    for n in range(-(-(STEPS - 2) // 50)):
        before = [flow.group(f"layer {n}", [TICK] * 50, after=before).name]
    flow.add("last", TICK, after=before)
    return flow


def small() -> Workflow:
    """Ten steps: one, four and three beside each other, one, and one more."""
    flow = Workflow("small")
    flow.add("a", TICK)
    four = flow.group("b", [TICK] * 4, after="a")
    three = [flow.add(f"c{n}", TICK, after="a") for n in range(3)]
    flow.add("d", TICK, after=[four, *three])
    flow.add("e", TICK, after="d")
    return flow


#: What must not be found, by the rows of jobs and of steps.
PROBLEMS = {
    "jobs that are no step's, or more than one for a step": """
        SELECT count(*) - count(DISTINCT s.job)
          FROM chancy_jobs_v1 AS j LEFT JOIN chancy_workflow_steps AS s ON s.job = j.id""",
    "steps without a job that has succeeded": """
        SELECT count(*)
          FROM chancy_workflow_steps AS s
          LEFT JOIN chancy_jobs_v1 AS j ON j.id = s.job AND j.state = 'succeeded'
         WHERE s.kind = 'job' AND j.id IS NULL""",
    "steps that are not over": """
        SELECT count(*) FROM chancy_workflow_steps WHERE state <> 'succeeded'""",
    "steps that began before what they wait for had ended": """
        SELECT count(*)
          FROM chancy_workflow_edges AS e
          JOIN chancy_workflow_steps AS m
            ON m.workflow = e.workflow AND (m.step = e.step OR m.parent = e.step)
          JOIN chancy_workflow_steps AS a
            ON a.workflow = e.workflow AND a.step = e.dependent
          JOIN chancy_jobs_v1 AS first ON first.id = m.job
          JOIN chancy_jobs_v1 AS second ON second.id = a.job
         WHERE second.started_at < first.finished_at""",
    "workflows that have counted wrongly": """
        SELECT count(*)
          FROM chancy_workflows AS w
         WHERE (w.total, w.succeeded, w.queued) <>
               (SELECT count(*), count(*), 0 FROM chancy_workflow_steps AS s
                 WHERE s.workflow = w.id AND s.kind = 'job')""",
}


async def test_each_step_is_settled_once(dsn: str, anyio_backend: str) -> None:
    async with Chancy(dsn) as chancy:
        await chancy.declare(Queue("q", executor="async", concurrency=50))
        workflows = Workflows(chancy)
        began = time.monotonic()
        await workflows.push(large())
        for _ in range(FLOWS):
            await workflows.push(small())
        figure("seconds to push", round(time.monotonic() - began, 1))
        with Fleet(dsn) as fleet:
            names = iter(f"w{n}" for n in range(1000))
            crew = [fleet.start(next(names), anyio_backend, lease=3) for _ in range(3)]
            until(lambda: len(fleet.known) == 3, 60, "three workers")
            began = time.monotonic()
            for _ in range(KILLS):
                time.sleep(PAUSE)
                crew.pop(0).kill()
                crew.append(fleet.start(next(names), anyio_backend, lease=3))
            left = "SELECT count(*) FROM chancy_workflows WHERE state <> 'completed'"
            until(lambda: fleet.one(left) == 0, size(240, 800), "all are completed")
            figure("seconds to run", round(time.monotonic() - began, 1))
            figure("steps", fleet.one("SELECT count(*) FROM chancy_jobs_v1"))
            again = "SELECT count(*) FROM chancy_jobs_v1 WHERE claims > 1"
            figure("steps that were begun more than once", fleet.one(again))
            found = {what: fleet.one(query) for what, query in PROBLEMS.items()}
            assert found == dict.fromkeys(PROBLEMS, 0)
