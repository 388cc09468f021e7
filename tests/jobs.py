"""Jobs that tests run in other processes, which load this module by its name."""

from chancy import job


@job(queue="process")
def add(a: int, b: int) -> int:
    return a + b
