"""H: a rolling deploy. The release before this one runs beside it, on this one's schema."""

import random
import time
from collections import Counter
from contextlib import closing, nullcontext, suppress

import psycopg
import pytest

from chancy import Chancy, MigrationsNeeded, Worker
from chancy_core.testing.databases import database
from tests.faults.earlier import Earlier
from tests.faults.producers import Producers
from tests.faults.scenario import scenario
from tests.faults.sizes import figure, size
from tests.fleet import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

MIGRATE = "import sys; from chancy import Chancy; Chancy(sys.argv[1]).sync_migrate()"
DECLARE = (
    "import sys; from chancy import Chancy, Queue; Chancy(sys.argv[1]).sync_declare("
    "Queue('q', executor='async', concurrency=10, polling_interval=0.5))"
)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    return Earlier.unpacked(tmp_path_factory.mktemp("earlier"))


@pytest.fixture
def old_dsn(empty_dsn, earlier):
    """A database with the schema of the release before."""
    migrated = earlier.run("-c", MIGRATE, empty_dsn)
    assert migrated.returncode == 0, migrated.stderr
    return empty_dsn


def test_it_is_the_release_before_that_runs(earlier):
    """Otherwise nothing here would prove anything: its code, its entry points, its migrations."""
    asked = (
        "import chancy_core, chancy, chancy_executors, chancy_plugins; from pathlib import Path\n"
        "from importlib.metadata import entry_points, distribution\n"
        "for package in chancy_core, chancy, chancy_executors, chancy_plugins:\n"
        "    print(package.__file__)\n"
        "print(distribution('chancy').locate_file('chancy_core/__init__.py'))\n"
        "print(chancy.Chancy('').migrator().lines['core'].newest)"
    )
    answered = earlier.run("-c", asked)
    assert answered.returncode == 0, answered.stderr
    *files, newest = answered.stdout.split()
    site = earlier.environment["PYTHONPATH"].split(":")[0]
    assert all(file.startswith(site) for file in files), files
    assert int(newest) < Chancy("").migrator().lines["core"].newest, (
        "this code has no migration that the release before does not have: keep the wheel of"
        " an older one, or nothing is compared"
    )


async def test_this_release_does_not_begin_on_the_schema_of_the_one_before(old_dsn):
    async with Chancy(old_dsn) as chancy:
        worker = Worker(chancy)
        with pytest.raises(MigrationsNeeded, match=r"at version 1 .* needs \d+: run `chancy migr"):
            await worker.start()
        assert not await chancy.is_up_to_date()
        await chancy.migrate()
        assert await chancy.is_up_to_date()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_all_that_an_application_asks_for_of_the_release_before_on_this_schema(
    dsn, earlier, backend
):
    ran = earlier.run("-m", "tests.faults.errand", backend, dsn)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_schema_that_is_too_new_for_it_keeps_the_release_before_from_starting(dsn, earlier):
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE chancy_migrations SET oldest = version WHERE line = 'core'")
    ran = earlier.run("-m", "tests.faults.errand", "asyncio", dsn)
    assert ran.returncode != 0
    assert "MigrationsNeeded" in ran.stderr
    assert "only code that knows version" in ran.stderr
    assert "install a newer version of the package" in ran.stderr


#: What would take down each thing that is in a schema, as a statement for each.
REMOVALS = """
    SELECT format('DROP %s %s CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END,
                  oid::regclass)
      FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')
       AND NOT relispartition
    UNION ALL
    SELECT format('ALTER TABLE %s DROP COLUMN %I CASCADE', attrelid::regclass, attname)
      FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
       AND NOT relispartition AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', conrelid::regclass, conname)
      FROM pg_constraint JOIN pg_class ON conrelid = pg_class.oid
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
       AND NOT relispartition
    UNION ALL
    SELECT format('DROP INDEX %s', indexrelid::regclass)
      FROM pg_index JOIN pg_class ON indrelid = pg_class.oid
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
       AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
    UNION ALL
    SELECT format('DROP FUNCTION %s CASCADE', oid::regprocedure)
      FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


#: What PostgreSQL says of a thing that is not there any more.
GONE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedObject,
    psycopg.errors.UndefinedFunction,
)


def removals(dsn):
    with psycopg.connect(dsn, autocommit=True) as conn:
        return {text for (text,) in conn.execute(REMOVALS)}


def removals_of_what_is_new(old_dsn, dsn):
    """Each thing that this release's migrations add, as a statement that takes it away."""
    added = removals(dsn) - removals(old_dsn)
    tables = {text.split()[2] for text in added if text.startswith("DROP TABLE")}
    return sorted(
        text for text in added if not (text.startswith("ALTER") and text.split()[2] in tables)
    )


def test_the_release_before_needs_nothing_that_is_new(old_dsn, dsn, server, earlier):
    """As GoodJob proves that its migrations break nobody: without what is new, it goes on.

    Without all of it at once; in the size of a release, without any one thing.
    """
    added = removals_of_what_is_new(old_dsn, dsn)
    assert added, "the migrations of this release add nothing"
    figure("rolling: things added to the schema, each of which the release before can miss", added)
    template = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    together = size(len(added), 1)
    for first in range(0, len(added), together):
        taken = added[first : first + together]
        with database(server, template=template) as without:
            with psycopg.connect(without, autocommit=True) as conn:
                for removal in taken:
                    # An earlier one may have taken it along.
                    with suppress(*GONE) if together > 1 else nullcontext():
                        conn.execute(removal)
            ran = earlier.run("-m", "tests.faults.errand", "asyncio", without)
            assert ran.returncode == 0, f"{taken}: {ran.stdout}{ran.stderr}"


def test_both_releases_at_work_while_the_schema_is_brought_up_and_processes_are_killed(
    old_dsn, tmp_path, earlier
):
    seconds = size(15, 300)
    assert earlier.run("-c", DECLARE, old_dsn).returncode == 0
    known = {"crash_limit": 1_000}
    with (
        scenario(
            "rolling", old_dsn, tmp_path, queues=(), lease=2.0, chancy=known, known=known
        ) as run,
        closing(Producers(old_dsn, run.record.path)) as producers,
    ):
        armada, old = run.armada, run.armada.raise_nursery(environment=earlier.environment)
        run.man(2, nursery=old)
        producers.start(earlier)
        until(lambda: len(run.history().of_kind("end")) > 20, 30, "the old work")
        run.chancy.sync_migrate()
        run.man(2)
        producers.start()
        kills, until_then = 0, time.monotonic() + seconds
        while time.monotonic() < until_then:
            time.sleep(0.3)
            names = run.workers()
            at_work = [m for m in armada.members.values() if m.name in names]
            if len(at_work) < 2:
                continue
            armada.kill(random.choice(at_work))
            if kills % 5 == 0:
                producers.replace()
            kills += 1
            until(armada.look, 5, "who was killed has ended")
            armada.start(nursery=armada.ended[-1].nursery)
        producers.stop()
        run.drained(120)
        found = run.judged()
    releases = {member.pid: member.nursery is old for member in armada.ended}
    begun = Counter(releases[event.pid] for event in found.of_kind("begin"))
    figure(
        "rolling: kills, begun by the release before and by this one",
        [kills, begun[True], begun[False]],
    )
    pushers = Counter(event.label.split("-")[0] for event in found.of_kind("acked"))
    assert min(begun[True], begun[False], pushers["old"], pushers["new"]) > 50
