"""`chancy demo`, as a command."""

from chancy_core.cli.demo import demo as run_demo
from chancy_core.cli.invocation import Here


def demo(*, here: Here) -> int:
    """Show it working: three queues, two workers, one of them killed, and every total checked."""
    return run_demo(trio=here.settings.backend == "trio", json=here.settings.json)
