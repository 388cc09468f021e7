"""Workflows that are pushed, run, and looked at."""

import pytest

from chancy import Chancy
from chancy_core.testing import drain
from chancy_plugins.workflow import Workflow, Workflows
from tests.plugins.workflow.flows import add, give, total

pytestmark = pytest.mark.anyio


async def test_results_are_handed_on(chancy_app: Chancy, workflows: Workflows):
    flow = Workflow("sum")
    a, b = flow.add("a", give.bind(value=1)), flow.add("b", give.bind(value=2))
    both = flow.add("both", add.bind(left=a.result, right=b.result))
    flow.add("again", total.bind(parts=[both.result, a.result]))
    id_ = await workflows.push(flow)
    before = await workflows.get(id_)
    assert (before.state, before.total, before.queued, before.waiting) == ("running", 4, 2, 2)
    ran = await drain(chancy_app)
    assert [job.meta["workflow"]["step"] for job in ran] == ["a", "b", "both", "again"]
    done = await workflows.get(id_)
    assert (done.state, done.succeeded, done.queued) == ("completed", 4, 0)
    assert await workflows.result(id_, "again") == 4


async def test_a_map_makes_a_job_of_each_element(chancy_app: Chancy, workflows: Workflows):
    flow = Workflow("map")
    listed = flow.add("list", give.bind(value=[1, 2, 3]))
    mapped = flow.map("each", add.bind(left=listed.each, right=10))
    flow.add("total", total.bind(parts=mapped.result))
    id_ = await workflows.push(flow)
    await drain(chancy_app)
    done = await workflows.get(id_)
    assert (done.state, done.total) == ("completed", 5)
    assert await workflows.result(id_, "each") == [11, 12, 13]
    assert await workflows.result(id_, "total") == 36
