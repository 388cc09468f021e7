"""What is wrong with a workflow, or with a call about one."""

from chancy_core.errors import ChancyError, InvalidValue


class InvalidWorkflow(InvalidValue):
    """A workflow, or a batch, that cannot be pushed."""


class EmptyWorkflowError(InvalidWorkflow):
    """It has no step."""


class InvalidDependencyError(InvalidWorkflow):
    """A step waits for one that is not there."""


class CircularDependencyError(InvalidWorkflow):
    """Steps wait for each other; the message has the way round."""


class WorkflowNotFound(ChancyError, LookupError):
    """No workflow, and no batch, has this id."""


class BatchOver(ChancyError):
    """All jobs of the batch have ended, or it was cancelled: it takes no more."""
