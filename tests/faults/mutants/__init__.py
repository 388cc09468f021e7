"""Our code without one of its guards: for each guard there is a test that misses it.

`guards` are all that there are (`claiming`, `living`, `writing`), each a `mutant`: `patches` that
take it out of a copy of our code, and the tests that must turn red then. `trial` runs them on such
a copy, from which `proof` makes sure that all is imported. A patch that does not apply is an error,
so that no guard moves away from what takes it out.

`pytest -m faults` tries a few, `python -m tests.faults.mutants` all. What signals processes is
never changed.
"""
