"""What has each attempt end in one outcome, whatever happens while it is written."""

from tests.faults.mutants.mutant import Mutant
from tests.faults.mutants.patches import Python, Sql

SQL = "chancy_core/sql"
KEPT = "chancy_core/holding.py"
STORE = "tests/postgres/test_store.py"
SETTLING = "tests/postgres/test_settling.py"
HOLDING = "tests/acceptance/test_holding.py"
GUARDS = "tests/acceptance/test_guards.py"

WRITING = (
    Mutant(
        "an outcome that ends a job counts under any lease",
        "lease",
        (Sql(f"{SQL}/finish.sql", " AND job.lease_id = outcome.lease_id"),),
        (
            f"{SETTLING}::test_an_outcome_under_a_stale_lease_changes_nothing",
            f"{SETTLING}::test_an_outcome_counts_only_under_the_newest_of_two_leases",
        ),
    ),
    Mutant(
        "an outcome that gives a job back counts under any lease",
        "lease",
        (Sql(f"{SQL}/requeue.sql", " AND job.lease_id = outcome.lease_id"),),
        (f"{SETTLING}::test_an_outcome_under_a_stale_lease_changes_nothing",),
    ),
    Mutant(
        "a job completes itself under any lease",
        "lease",
        (Sql(f"{SQL}/complete.sql", " AND lease_id = %(lease_id)s"),),
        ("tests/acceptance/test_transactions.py::test_who_lost_the_lease_cannot_complete",),
    ),
    Mutant(
        "a poisoned batch is refused as a whole",
        "alone",
        (
            Python(
                "chancy_core/store/settling.py",
                "Settling._settle_some",
                "if len(settled) == 1: return await self._write([_substitute(settled[0], exc)])",
                "return await self._write([_substitute(one, exc) for one in settled])",
            ),
        ),
        (f"{SETTLING}::test_a_poison_among_fifty_is_replaced_alone",),
    ),
    Mutant(
        "a settle in doubt does not know what it has written",
        "doubt",
        (Python("chancy_core/store/settling.py", "Settling.settle", "ended and again", "False"),),
        (f"{SETTLING}::test_a_settle_in_doubt_knows_what_it_has_written",),
    ),
    Mutant(
        "a push in doubt does not look into the history",
        "doubt",
        (Sql(f"{SQL}/push_again.sql", "%(since)s", "'infinity' AND %(since)s < 'infinity'"),),
        (f"{STORE}::test_a_push_in_doubt_knows_jobs_that_have_finished_meanwhile",),
    ),
    Mutant(
        "a job that is wanted cancelled is tried again",
        "cancelled",
        (Sql(f"{SQL}/requeue.sql", " AND NOT job.cancelling"),),
        (f"{HOLDING}::test_a_job_that_was_wanted_cancelled_is_not_tried_again",),
    ),
    Mutant(
        "what a worker holds unknowingly is not looked for",
        "does_not_know",
        (Python(KEPT, "Holding._look_after", "unknown.append(lease)", "None"),),
        (f"{HOLDING}::test_rows_that_a_worker_does_not_know_are_given_back",),
    ),
    Mutant(
        "a worker leaves without writing its last outcomes",
        "flush",
        (
            Python(
                "chancy_core/departure.py",
                "Departure.leave",
                "await self._within(FLUSH, self._settler.flush)",
                "None",
            ),
        ),
        (f"{GUARDS}::test_the_flush_at_shutdown_writes_the_last_outcomes",),
    ),
    Mutant(
        "a worker leaves without giving back what it holds",
        "given_back",
        (
            Python(
                "chancy_core/departure.py",
                "Departure.leave",
                "await self._within(FLUSH, self._give_back)",
                "None",
            ),
        ),
        (f"{GUARDS}::test_what_a_worker_holds_is_given_back_as_it_leaves",),
    ),
)
