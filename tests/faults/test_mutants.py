"""Each guard of the promise can be taken out of a copy of our code, and some test misses it."""

import ast
from pathlib import Path

import pytest

from tests.faults.mutants.guards import MUTANTS
from tests.faults.mutants.mutant import Mutant
from tests.faults.mutants.patches import DoesNotApply, Python, Sql
from tests.faults.mutants.trial import ROOT, trials
from tests.faults.sizes import figure

#: Those that each change tries; a release tries all, in a run of its own.
FEW = (
    "an outcome that ends a job counts under any lease",
    "a claim waits for rows that another has locked",
    "the index on unique keys is none that is unique",
    "a worker leaves without writing its last outcomes",
    "a lease is begun and renewed by the clock of its worker",
    "the event loop renews the lease, and no thread",
    "a poisoned batch is refused as a whole",
    "a pattern matches a tag that holds it",
)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_guard_that_is_taken_out_is_missed(server: str, tmp_path: Path):
    mutants = [mutant for mutant in MUTANTS if mutant.name in FEW]
    runs = list(trials(mutants, server, tmp_path))
    figure("a few mutants: caught, of", [sum(ran.as_it_should for ran in runs[1:]), len(mutants)])
    for ran in runs:
        assert ran.as_it_should, (ran.mutant, ran.status, ran.asked, ran.passed, ran.output)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_guard_is_there_to_be_taken_out(mutant: Mutant):
    texts = {patch.file: (ROOT / patch.file).read_text() for patch in mutant.patches}
    for patch in mutant.patches:
        texts[patch.file], before = patch.changed(texts[patch.file]), texts[patch.file]
        assert texts[patch.file] != before


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_guard_is_named_by_a_test(mutant: Mutant):
    named = []
    for test in mutant.tests:
        file, _, name = test.partition("[")[0].partition("::")
        tree = ast.parse((ROOT / file).read_text())
        found = [node for node in ast.walk(tree) if getattr(node, "name", "") == name]
        assert len(found) == 1, test
        named.append(mutant.guard in name)
    assert any(named)


def test_the_names_are_different():
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    assert set(FEW) <= set(names)


CODE = '''
class Till:
    def pay(self):
        self.count(); return self.count() + self.count(1)
    def count(self, by=0):
        """Count."""
        return by
'''


@pytest.mark.parametrize(
    ("function", "code"),
    [("Till.pay", "self.count()"), ("Till.pay", "self.take()"), ("Till.take", "by"), ("pay", "1")],
    ids=["twice", "never", "no such method", "no such function"],
)
def test_a_patch_of_what_is_not_there_once_is_an_error(function: str, code: str):
    with pytest.raises(DoesNotApply, match=r"x\.py"):
        Python("x.py", function, code, "None").changed(CODE)


def test_a_patch_changes_one_place():
    assert "return 7" in Python("x.py", "Till.count", "return by", "return 7").changed(CODE)
    changed = Python("x.py", "Till.pay", "self.count(1)", "7").changed(CODE)
    assert "self.count() + 7" in changed
    assert Sql("x.sql", " AND b").changed("WHERE a AND b") == "WHERE a"
    for text in ("WHERE a", "WHERE a AND b AND b"):
        with pytest.raises(DoesNotApply, match=r"x\.sql"):
            Sql("x.sql", " AND b").changed(text)
