"""The five roles on a test's own database, and connections as each of them.

Roles belong to the whole server: those of a test have names that no other has, and are dropped.
"""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from attrs import frozen
from psycopg import sql
from psycopg.conninfo import make_conninfo

from chancy import Chancy
from chancy_core.migrate import Line, Migration
from chancy_core.roles import ROLES, Roles
from chancy_core.statement import Names

CORE = Line.from_package("core", "chancy_core.migrations")
#: Those of all lines that are installed.
EVERY = tuple(step for line in Chancy().migrator().lines.values() for step in line.migrations)


@frozen
class Granted:
    """A database on which the roles have been made."""

    dsn: str
    roles: Roles
    migrations: tuple[Migration, ...]

    def __getitem__(self, role: str) -> str:
        """Return the DSN by which somebody connects as this role."""
        return login(self.dsn, self.roles[role])

    def grant(self, dsn: str | None = None) -> None:
        """Run the script, as whoever the DSN says."""
        with psycopg.connect(dsn or self.dsn, autocommit=True) as conn:
            conn.execute(self.roles.script(self.migrations).encode())


def login(dsn: str, role: str) -> str:
    return make_conninfo(dsn, user=role, password=role)


def create(conn: psycopg.Connection, role: str, *members_of: str) -> None:
    """Make a role that can log in, be it by a password."""
    conn.execute(
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(role))
    )
    for group in members_of:
        conn.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(role)))


def drop(conn: psycopg.Connection, *roles: str) -> None:
    """Drop roles, with all that they own and may in this database."""
    names = sql.SQL(", ").join(map(sql.Identifier, roles))
    conn.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(names))
    conn.execute(sql.SQL("DROP ROLE {}").format(names))


@contextmanager
def granted(
    dsn: str,
    names: Names | None = None,
    migrations: tuple[Migration, ...] = (),
    *,
    granter: str | None = None,
) -> Iterator[Granted]:
    """Make the roles, for the tables of the core and those of *migrations*.

    That is done by the *granter*, who need be no superuser; dropping them takes one.
    """
    migrations += CORE.migrations
    made = Granted(dsn, Roles(names or Names(), f"t{uuid.uuid4().hex[:20]}_"), migrations)
    with psycopg.connect(dsn, autocommit=True) as conn:
        made.grant(granter)
        try:
            for role in map(made.roles.__getitem__, ROLES[1:]):
                text = sql.SQL("ALTER ROLE {} PASSWORD {}")
                conn.execute(text.format(sql.Identifier(role), sql.Literal(role)))
            yield made
        finally:
            drop(conn, *map(made.roles.__getitem__, ROLES))


#: What tests do that neither who pushes nor who works may: they connect as the owner in any case.
NEEDS_OWNER = {
    "makes roles": ("test_least_rights", "test_granting", "test_roles"),
    "retries, purges or deletes a queue": (
        "test_purging_by_filter",
        "test_retrying_answers_for_each",
        "test_retrying_brings_forward_what_waits_for_later",
        "test_what_cannot_be_asked",
        "test_a_deleted_queue_begins_nothing_and_its_running_jobs_end",
        "test_jobs_are_purged_by_id_and_by_filter_unless_they_run",
        "test_producers_with_the_same_keys_never_wait_crosswise",
        "test_after_a_fork_both_push_on_and_each_twin_works",
        "test_behind_a_block_and_open_again_after_it",
        "test_each_twin_does_what_its_coroutine_does",
        "test_each_twin_works_on_a_thread_of_an_asynchronous_program",
        "test_a_queue_changes_with_the_transaction_and_workers_are_told",
        "test_cancelled_retried_and_purged_with_the_transaction",
        "test_bulk_calls_answer_when_they_are_committed",
        "test_queues_change_when_it_is_committed",
        "test_one_that_is_purged_meanwhile_is_not_found",
        "test_job_cancel_and_retry",
        "test_job_purge",
        "test_queue_delete",
        "test_no_claim_is_forgotten_when_a_job_is_retried",
        "test_every_worker_follows_each_change_within_a_second",
    ),
    "writes rows by hand": (
        "test_a_row_full_of_nonsense_fails_alone",
        "test_hostile_rows",
    ),
    "makes, changes or drops tables": (
        "test_hostile_statements_are_rolled_back_alone",
        "test_pushing_beside",
        "test_a_lease_that_does_not_begin_leaves_no_connection_behind",
        "test_a_job_that_completes_itself_happens_once",
        "test_a_missing_partition_is_made_and_a_poison_does_not_hinder_it",
        "test_a_poison_alone_on_a_day_without_a_partition",
        "test_cancelling_where_no_worker_has_run_for_long",
        "test_plans",
        "test_diagnosis",
        "test_a_service_that_lacks_its_tables_is_named_until_it_has_them",
    ),
}


def needs_owner(nodeid: str) -> bool:
    """Whether a test, or all of its module, does what only the owner of the tables may."""
    words = set(re.findall(r"\w+", nodeid.partition("[")[0]))
    return any(not words.isdisjoint(tests) for tests in NEEDS_OWNER.values())


@frozen
class Least:
    """A role that is a member of those that push and work, in all databases of a run."""

    roles: Roles

    @property
    def name(self) -> str:
        return self.roles["both"]

    def prepare(self, dsn: str) -> None:
        """Make the roles in the database that all others are copied from."""
        Granted(dsn, self.roles, EVERY).grant()
        with psycopg.connect(dsn, autocommit=True) as conn:
            create(conn, self.name, self.roles["work"])

    def dsn(self, dsn: str) -> str:
        return login(dsn, self.name)


@contextmanager
def least(server: str) -> Iterator[Least]:
    """Have such a role until the databases in which it is used have been dropped."""
    made = Least(Roles(Names(), f"t{uuid.uuid4().hex[:20]}_"))
    yield made
    with psycopg.connect(server, autocommit=True) as conn:
        for role in (made.name, *map(made.roles.__getitem__, reversed(ROLES))):
            conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
