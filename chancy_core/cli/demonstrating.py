"""`chancy demo`, as a command."""

from chancy_core.cli.demo import demo as run_demo


async def demo() -> int:
    """Show it working: an embedded server, three queues, thousands of jobs, their sums checked."""
    return 0 if await run_demo() else 1
