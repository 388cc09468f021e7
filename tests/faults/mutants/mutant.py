"""A mutant: our code without one of its guards."""

from attrs import frozen

from tests.faults.mutants.patches import Patch


@frozen
class Mutant:
    """What the code does without a guard, and the tests each of which must turn red."""

    name: str
    #: What the guard is called in the name of one of these tests.
    guard: str
    patches: tuple[Patch, ...]
    tests: tuple[str, ...]
