"""Each guard of the promise, how it is taken out, and the tests that are about it."""

from attrs import frozen

from tests.faults.mutants.patches import Patch, Python, Sql

SQL = "chancy_core/sql"
CLAIM = "chancy_core/claim.py"
HEARTBEAT = "chancy_core/heartbeat.py"
STORE = "tests/postgres/test_store.py"
SETTLING = "tests/postgres/test_settling.py"
FUNCTIONS = "tests/security/test_functions.py"
WATCHING = "tests/acceptance/test_watching.py"
HOLDING = "tests/acceptance/test_holding.py"
LIVENESS = "tests/acceptance/test_liveness.py"
TAGS = "tests/unit/test_tags.py"
GUARDS = "tests/acceptance/test_guards.py"


@frozen
class Mutant:
    """The code without a guard: what it does then, and the tests each of which must turn red.

    Of these at least one has the guard in its name, or in the sentence below it.
    """

    name: str
    guard: str
    patches: tuple[Patch, ...]
    tests: tuple[str, ...]


MUTANTS = (
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
        "a claim waits for rows that another has locked",
        "locked",
        (
            Sql(
                f"{SQL}/claim.sql",
                "suspect.queue = want.queue)\n           FOR UPDATE SKIP LOCKED",
                "suspect.queue = want.queue)\n           FOR UPDATE",
            ),
        ),
        (f"{STORE}::test_a_claim_passes_over_rows_that_another_has_locked",),
    ),
    Mutant(
        "a claim locks nothing",
        "never_share",
        (
            Sql(
                f"{SQL}/claim.sql",
                "suspect.queue = want.queue)\n           FOR UPDATE SKIP LOCKED",
                "suspect.queue = want.queue)",
            ),
        ),
        (f"{STORE}::test_two_claimers_never_share_a_job",),
    ),
    Mutant(
        "a rescue locks nothing",
        "rescue_at_once",
        (Sql(f"{SQL}/rescue.sql", "       FOR UPDATE SKIP LOCKED\n"),),
        ("tests/faults/known/test_liveness.py::test_two_who_rescue_at_once_charge_each_job_once",),
    ),
    Mutant(
        "the dead claim",
        "dead",
        (Sql(f"{SQL}/claim.sql", "WHERE id = %(worker)s AND NOT dead", "WHERE true"),),
        (f"{STORE}::test_a_worker_that_is_dead_or_has_no_row_claims_nothing",),
    ),
    Mutant(
        "all claims of a worker have one lease",
        "lease",
        (Sql(f"{SQL}/claim.sql", "lease_id = gen_random_uuid()", "lease_id = %(worker)s"),),
        (f"{STORE}::test_each_claim_counts_and_has_a_lease_of_its_own",),
    ),
    Mutant(
        "claims are not counted",
        "claim_counts",
        (Sql(f"{SQL}/claim.sql", "claims = least(claims + 1, 1000000000)", "claims = claims"),),
        (f"{STORE}::test_each_claim_counts_and_has_a_lease_of_its_own",),
    ),
    Mutant(
        "any number of suspects at once",
        "suspect",
        (
            Sql(f"{SQL}/claim.sql", "     WHERE %(suspect)s\n     LIMIT 1\n",
                "     WHERE true OR %(suspect)s\n"),
        ),
        (f"{HOLDING}::test_a_suspect_is_held_until_its_outcome_is_written",),
    ),
    Mutant(
        "the index on unique keys is none that is unique",
        "unique",
        (
            Sql(
                "chancy_core/migrations/0001_jobs.up.sql",
                "CREATE UNIQUE INDEX ON {jobs} (unique_key)",
                "CREATE INDEX ON {jobs} (unique_key)",
            ),
        ),
        (f"{STORE}::test_a_unique_key_is_held_while_its_job_is_live",),
    ),
    Mutant(
        "a worker leaves without writing its last outcomes",
        "flush",
        (
            Python("chancy_core/life.py", "Departure.leave",
                   "await self._within(FLUSH, self._settler.flush)", "None"),
        ),
        (f"{GUARDS}::test_the_flush_at_shutdown_writes_the_last_outcomes",),
    ),
    Mutant(
        "a worker leaves without giving back what it holds",
        "leaves_without",
        (
            Python("chancy_core/life.py", "Departure.leave",
                   "await self._within(FLUSH, self._give_back)", "None"),
        ),
        (
            f"{WATCHING}::test_a_worker_leaves_without_a_coroutine_that_swallows_cancellation",
        ),
    ),
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
            Python(CLAIM, "Claimer.watch_lease", "self._heartbeat.check()",
                   "self._heartbeat._once()"),
            Python(CLAIM, "Claimer.watch_lease", "anyio.sleep(0.5)",
                   "anyio.sleep(0.05)"),
        ),
        (
            f"{GUARDS}::test_the_heartbeat_renews_the_lease_of_a_blocked_loop",
            f"{LIVENESS}::test_a_blocked_event_loop_does_not_look_dead",
        ),
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
                "self._conn.transaction()",
                "__import__('contextlib').nullcontext()",
            ),
        ),
        (f"{GUARDS}::test_the_dead_are_declared_so_in_the_transaction_that_takes_their_jobs",),
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
        (Python(CLAIM, "Claimer._check_lease", "lane.cancel()", "None"),),
        (f"{LIVENESS}::test_a_worker_that_was_declared_dead_lets_go_and_begins_anew",),
    ),
    Mutant(
        "an exclusive job goes on when its lease runs out",
        "exclusive",
        (Python(CLAIM, "Claimer.watch_lease", "lane.cancel_exclusive()", "None"),),
        (f"{HOLDING}::test_an_exclusive_job_ends_before_its_lease_does",),
    ),
    Mutant(
        "what may be begun once is begun again when its worker has died",
        "begun_once",
        (
            Sql(f"{SQL}/rescue.sql", " AND NOT at_most_once"),
            Sql(f"{SQL}/rescue.sql", " OR at_most_once OR", " OR"),
        ),
        (f"{HOLDING}::test_what_may_be_begun_once_is_lost_with_its_worker",),
    ),
    Mutant(
        "what may be begun once is given back to be begun again",
        "at_most_once",
        (
            Sql(f"{SQL}/give_back.sql", " NOT (%(begun)s AND at_most_once) AND"),
            Sql(f"{SQL}/give_back.sql", "(%(begun)s AND at_most_once OR cancelling)", "cancelling"),
        ),
        (f"{GUARDS}::test_what_may_be_begun_at_most_once_is_not_given_back_but_lost",),
    ),
    Mutant(
        "a job may kill any number of workers",
        "quarantined",
        (
            Sql(f"{SQL}/rescue.sql", "crashes + 1 < %(crash_limit)s", "true"),
            Sql(f"{SQL}/rescue.sql", "crashes + 1 >= %(crash_limit)s", "false"),
        ),
        (f"{SETTLING}::test_a_job_whose_workers_die_too_often_is_quarantined",),
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
        (Python(CLAIM, "Claimer._look_after", "unknown.append(lease)", "None"),),
        (f"{HOLDING}::test_rows_that_a_worker_does_not_know_are_given_back",),
    ),
    Mutant(
        "a rate is let go as soon as it was read",
        "lock",
        (
            Python(
                CLAIM,
                "Claimer._claim_limited",
                "conn.transaction()",
                "__import__('contextlib').AsyncExitStack()",
            ),
        ),
        (f"{GUARDS}::test_a_rate_limit_is_counted_under_its_lock",),
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
        "a pattern matches a tag that holds it",
        "whole",
        (Python("chancy_core/tags.py", "matches", "re2.fullmatch", "re2.search"),),
        (f"{TAGS}::test_a_pattern_matches_a_tag_as_a_whole",),
    ),
    Mutant(
        "a pattern matches a tag that begins like it",
        "begins_like",
        (Python("chancy_core/tags.py", "matches", "re2.fullmatch", "re2.match"),),
        (
            f"{TAGS}::test_a_pattern_matches_a_tag_as_a_whole",
            "tests/security/test_tags.py::test_no_tag_matches_that_only_begins_like_the_pattern",
        ),
    ),
    Mutant(
        "a function is found by its path",
        "nobody_registered",
        (
            Python(
                "chancy_core/registry.py",
                "lookup",
                "_functions[name]",
                "_functions.get(name)"
                " or JobFunction(__import__('pydoc').locate(name) or _functions[name], name)",
            ),
        ),
        (
            "tests/unit/test_registry.py::test_a_name_that_nobody_registered_runs_nothing",
            f"{FUNCTIONS}::test_no_hostile_name_and_no_pickle_runs_anything[100-asyncio]",
        ),
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
)  # fmt: skip
