"""Jobs that compute on a GPU; child processes import them from here."""

from array import array
from ctypes import CDLL
from typing import Any

from chancy import job
from tests.gpu import cuda

#: How many numbers a job computes.
SIZE = 100_000


@job(name="gpu.compute", queue="gpu")
def compute(add: int) -> dict[str, Any]:
    """Compute `3 n + add` on the GPU for each n below 100,000; return on which, and their sum.

    A float of 32 bits holds them all exactly, so that each is right or wrong.
    """
    numbers = array("f", range(SIZE))
    results = array("f", [add]) * SIZE
    device = cuda.saxpy(cuda.Driver(CDLL(cuda.LIBRARY)), 3, numbers, results)
    wrong = [n for n, result in enumerate(results) if result != 3 * n + add]
    if wrong:
        first = wrong[0]
        raise ArithmeticError(f"{len(wrong)} are wrong: of {first} came {results[first]}")
    return {"device": device, "sum": sum(results)}


@job(name="gpu.look", queue="any")
def look() -> str | None:
    """Return why a job cannot compute on a GPU here, or None."""
    return cuda.missing()
