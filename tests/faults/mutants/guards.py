"""The guards of the promise."""

from tests.faults.mutants.claiming import CLAIMING
from tests.faults.mutants.living import LIVING
from tests.faults.mutants.writing import WRITING

MUTANTS = (*CLAIMING, *LIVING, *WRITING)
