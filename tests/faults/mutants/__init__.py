"""Our code without one of its guards: for each guard some test must miss it.

`patches` takes one guard out of a copy of the code, `guards` says which there are and which tests
are about them, and `trial` runs these tests on such a copy. A patch that does not apply is an
error, so that a guard cannot move away from what takes it out. Run by `pytest -m faults`, a few of
them, and all by `python -m tests.faults.mutants`. Code that signals processes is never touched.
"""
