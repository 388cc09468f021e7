"""What keeps a job from being claimed by two, too early, or by who should not run it."""

from tests.faults.mutants.mutant import Mutant
from tests.faults.mutants.patches import Python, Sql

SQL = "chancy_core/sql"
CLAIM = "chancy_core/claim.py"
KEPT = "chancy_core/holding.py"
STORE = "tests/postgres/test_store.py"
FUNCTIONS = "tests/security/test_functions.py"
HOLDING = "tests/acceptance/test_holding.py"
TAGS = "tests/unit/test_tags.py"
GUARDS = "tests/acceptance/test_guards.py"

CLAIMING = (
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
        "a claim waits for rows that another has locked",
        "locked",
        (
            Sql(
                f"{SQL}/claim.sql",
                "want.ahead\n                       FOR UPDATE SKIP LOCKED",
                "want.ahead\n                       FOR UPDATE",
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
                "want.ahead\n                       FOR UPDATE SKIP LOCKED",
                "want.ahead",
            ),
        ),
        (f"{STORE}::test_two_claimers_never_share_a_job",),
    ),
    Mutant(
        "all claims of a worker have one lease",
        "lease",
        (Sql(f"{SQL}/claim.sql", "uuid_send(gen_random_uuid())) || uuid_send(id)", "''::bytea)"),),
        (f"{STORE}::test_each_claim_counts_and_has_a_lease_of_its_own",),
    ),
    Mutant(
        "claims are not counted",
        "claim_counts",
        (Sql(f"{SQL}/claim.sql", "claims = least(claims + 1, 1000000000)", "claims = claims"),),
        (f"{STORE}::test_each_claim_counts_and_has_a_lease_of_its_own",),
    ),
    Mutant(
        "the dead claim",
        "dead",
        (Sql(f"{SQL}/claim.sql", "WHERE id = %(worker)s AND NOT dead", "WHERE true"),),
        (f"{STORE}::test_a_worker_that_is_dead_or_has_no_row_claims_nothing",),
    ),
    Mutant(
        "any number of suspects at once",
        "suspect",
        (
            Sql(
                f"{SQL}/claim.sql",
                "     WHERE %(suspect)s AND want.free > 0\n     LIMIT 1\n",
                "     WHERE true OR %(suspect)s\n",
            ),
        ),
        (f"{GUARDS}::test_one_suspect_is_claimed_at_a_time_and_none_if_one_is_held",),
    ),
    Mutant(
        "a worker does not know that it holds a suspect",
        "suspect",
        (Python(KEPT, "Holding.has_suspect", "claimed.job.crashes", "False"),),
        (f"{HOLDING}::test_a_worker_holds_one_suspect_at_a_time",),
    ),
    Mutant(
        "a suspect is forgotten before its outcome is written",
        "suspect",
        (Python(KEPT, "Holding.has_suspect", "settlement.job.crashes", "False"),),
        (f"{HOLDING}::test_a_suspect_is_held_until_its_outcome_is_written",),
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
)
