"""What keeps the jobs of the living with them, and takes them from the dead, but not too often."""

from tests.faults.mutants.mutant import Mutant
from tests.faults.mutants.patches import Python, Sql

SQL = "chancy_core/sql"
KEPT = "chancy_core/holding.py"
HEARTBEAT = "chancy_core/heartbeat.py"
STORE = "tests/postgres/test_store.py"
SETTLING = "tests/postgres/test_settling.py"
HOLDING = "tests/acceptance/test_holding.py"
LIVENESS = "tests/acceptance/test_liveness.py"
GUARDS = "tests/acceptance/test_guards.py"

LIVING = (
    Mutant(
        "a lease is begun and renewed by the clock of its worker",
        "clock",
        (
            Sql(f"{SQL}/announce.sql", "{now}() + ", "to_timestamp(%(clock)s) + "),
            Sql(f"{SQL}/renew.sql", "{now}() + ", "to_timestamp(%(clock)s) + "),
        ),
        (f"{GUARDS}::test_a_lease_ends_by_the_clock_of_the_database",),
    ),
    Mutant(
        "the heartbeat renews nothing",
        "heartbeat",
        (Python(HEARTBEAT, "Heartbeat._beat", "self._once()", "None"),),
        (f"{GUARDS}::test_the_heartbeat_renews_the_lease_of_a_blocked_loop",),
    ),
    Mutant(
        "the event loop renews the lease, and no thread",
        "heartbeat",
        (
            Python(HEARTBEAT, "Heartbeat._beat", "self._once()", "None"),
            Python(
                KEPT, "Holding.watch_lease", "self._heartbeat.check()", "self._heartbeat._once()"
            ),
            Python(KEPT, "Holding.watch_lease", "anyio.sleep(0.5)", "anyio.sleep(0.05)"),
        ),
        (f"{GUARDS}::test_the_heartbeat_renews_the_lease_of_a_blocked_loop",),
    ),
    Mutant(
        "a thread waits for an answer as long as it takes",
        "black_hole",
        (
            Python(
                "chancy_core/postgres/threaded.py",
                "Conn.wait",
                "self.call_timeout if timeout is None else timeout",
                "timeout",
            ),
        ),
        ("tests/postgres/test_faults.py::test_a_black_hole_ends_the_call_of_a_thread",),
    ),
    Mutant(
        "a job is begun whosever it is by now",
        "anothers",
        (Python("chancy_core/lane.py", "Lane.take", "self._holds(claimed.job)", "True"),),
        (f"{HOLDING}::test_what_may_be_anothers_by_now_is_not_begun",),
    ),
    Mutant(
        "a rescue signs with the lease of the dead",
        "in_doubt",
        (Sql(f"{SQL}/rescue.sql", "worker, NULL, created_at", "worker, lease_id, created_at"),),
        (f"{SETTLING}::test_an_outcome_in_doubt_is_not_taken_for_what_others_wrote",),
    ),
    Mutant(
        "the dead are buried after any renewal",
        "gap",
        (
            Python(
                HEARTBEAT,
                "Heartbeat._once",
                "self._gapless_since is not None and began - self._gapless_since >= LEASE",
                "True",
            ),
        ),
        (f"{GUARDS}::test_nobody_is_declared_dead_before_ones_own_renewals_are_without_a_gap",),
    ),
    Mutant(
        "a gap in the renewals is not seen",
        "gap",
        (
            Python(
                HEARTBEAT,
                "Heartbeat._mark",
                "self._gapless_since is None or now - self._last > 2 * INTERVAL",
                "self._gapless_since is None",
            ),
        ),
        (f"{GUARDS}::test_nobody_is_declared_dead_before_ones_own_renewals_are_without_a_gap",),
    ),
    Mutant(
        "the dead are declared so in one transaction, and their jobs taken in another",
        "transaction",
        (
            Python(
                HEARTBEAT,
                "Heartbeat._rescue",
                "conn.transaction()",
                "__import__('contextlib').nullcontext()",
            ),
        ),
        (f"{GUARDS}::test_the_dead_are_declared_so_in_the_transaction_that_takes_their_jobs",),
    ),
    Mutant(
        "who declares others dead waits for rows that another has locked",
        "locked",
        (Sql(f"{SQL}/bury.sql", "FOR UPDATE SKIP LOCKED", "FOR UPDATE"),),
        (f"{GUARDS}::test_a_rescue_passes_over_what_another_has_locked",),
    ),
    Mutant(
        "a rescue waits for rows that another has locked",
        "locked",
        (Sql(f"{SQL}/rescue.sql", "FOR UPDATE SKIP LOCKED", "FOR UPDATE"),),
        (f"{GUARDS}::test_a_rescue_passes_over_what_another_has_locked",),
    ),
    Mutant(
        "a rescue locks nothing",
        "rescue_at_once",
        (Sql(f"{SQL}/rescue.sql", "       FOR UPDATE SKIP LOCKED\n"),),
        ("tests/faults/known/test_liveness.py::test_two_who_rescue_at_once_charge_each_job_once",),
    ),
    Mutant(
        "jobs are taken from whose lease has run out, before anybody declares them dead",
        "declared_dead",
        (Sql(f"{SQL}/rescue.sql", "AND NOT w.dead", "AND w.expires_at >= {now}()"),),
        (f"{GUARDS}::test_no_job_is_taken_from_a_worker_that_was_not_declared_dead",),
    ),
    Mutant(
        "the dead renew their lease",
        "declared_dead",
        (Sql(f"{SQL}/renew.sql", " AND NOT dead"),),
        (f"{STORE}::test_a_lease_is_renewed_until_its_worker_is_declared_dead",),
    ),
    Mutant(
        "who was declared dead lets go of nothing",
        "lets_go",
        (Python(KEPT, "Holding.check_lease", "lane.cancel()", "None"),),
        (f"{LIVENESS}::test_a_worker_that_was_declared_dead_lets_go_and_begins_anew",),
    ),
    Mutant(
        "an exclusive job goes on when its lease runs out",
        "exclusive",
        (Python(KEPT, "Holding.watch_lease", "lane.cancel_exclusive()", "None"),),
        (f"{HOLDING}::test_an_exclusive_job_ends_before_its_lease_does",),
    ),
    Mutant(
        "what may be begun once is begun again when its worker has died",
        "begun_once",
        (Sql(f"{SQL}/rescue.sql", "job.at_most_once OR "),),
        (f"{HOLDING}::test_what_may_be_begun_once_is_lost_with_its_worker",),
    ),
    Mutant(
        "what may be begun once is given back to be begun again",
        "at_most_once",
        (Sql(f"{SQL}/give_back.sql", "%(begun)s AND at_most_once AS lost", "false AS lost"),),
        (f"{GUARDS}::test_what_may_be_begun_at_most_once_is_not_given_back_but_lost",),
    ),
    Mutant(
        "a job may kill any number of workers",
        "quarantined",
        (Sql(f"{SQL}/rescue.sql", "job.crashes + 1 >= %(crash_limit)s", "false"),),
        (f"{SETTLING}::test_a_job_whose_workers_die_too_often_is_quarantined",),
    ),
)
