"""`chancy demo`: what Chancy does, shown on the source files of Python's standard library.

`sources` is what there is to read, `jobs` the functions that read it, `stage` the queues and what
is pushed to them. `crew` starts workers, each a process that runs `hand`. `play` is what happens,
act by act; it follows `standing` (what the rows say) and speaks through `telling`. In the end
`figures` are made of the jobs' rows and checked, and `report` shows them.
"""


def demo(*, trio: bool = False, json: bool = False) -> int:
    """Run the demo on asyncio or *trio*; return the exit status: 0 if its totals are right.

    With *json* the final figures are one JSON document on standard output, and all that is told
    meanwhile goes to standard error. Needs the extra `cli`. Raises `ChancyError` if something
    does not happen that should.
    """
    # Not for the workers' processes, which import this package for its jobs.
    import anyio

    from chancy_core.cli.demo.play import INTERRUPTED, play

    try:
        backend = "trio" if trio else "asyncio"
        return anyio.run(play, backend, json, backend=backend)
    except KeyboardInterrupt:  # before anything was there to be cleaned up
        return INTERRUPTED
