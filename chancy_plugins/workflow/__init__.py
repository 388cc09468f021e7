"""Runs jobs that wait for each other, and hand on what they return; and jobs that end together.

    from chancy_plugins.workflow import Batch, Workflow, Workflows

    flow = Workflow("thumbnails")
    listed = flow.add("list", list_images.bind(folder="/in"))
    made = flow.map("resize", resize.bind(path=listed.each, width=200))
    flow.add("index", write_index.bind(paths=made.result))
    id_ = await Workflows(chancy).push(flow)

The rooms: `errors`; `reference` (results as arguments), `graph` (what waits for what), `flow` and
`batch` (what is written down), `picture`; `record` (what is stored of it), `stored` (what is read),
`statements`, `reading`, `left` and `migrations` (the tables, and how they are advanced); `going`
and `sweep` (what goes on where nobody else did), `hooks` (what workers do), `calls`
(`Workflows`), `command` (`chancy workflow`).
"""

from chancy_plugins.workflow.batch import Batch as Batch
from chancy_plugins.workflow.calls import Workflows as Workflows
from chancy_plugins.workflow.errors import BatchOver as BatchOver
from chancy_plugins.workflow.errors import CircularDependencyError as CircularDependencyError
from chancy_plugins.workflow.errors import EmptyWorkflowError as EmptyWorkflowError
from chancy_plugins.workflow.errors import InvalidDependencyError as InvalidDependencyError
from chancy_plugins.workflow.errors import InvalidWorkflow as InvalidWorkflow
from chancy_plugins.workflow.errors import WorkflowNotFound as WorkflowNotFound
from chancy_plugins.workflow.flow import Sequence as Sequence
from chancy_plugins.workflow.flow import Step as Step
from chancy_plugins.workflow.flow import Workflow as Workflow
from chancy_plugins.workflow.stored import Stored as Stored
from chancy_plugins.workflow.stored import StoredStep as StoredStep
