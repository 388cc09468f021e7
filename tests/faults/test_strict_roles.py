"""B11, B14: what a role or a database imposes on every session: short times, strict isolation."""

from contextlib import closing

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from chancy import Queue
from tests.faults.errand import errand
from tests.faults.producers import Producers
from tests.faults.scenario import scenario
from tests.faults.sizes import figure, size
from tests.fleet import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

IMPOSED = {
    "hurried": {
        "statement_timeout": "50ms",
        "lock_timeout": "20ms",
        "idle_in_transaction_session_timeout": "200ms",
    },
    "serializable": {"default_transaction_isolation": "serializable"},
}


@pytest.fixture(params=IMPOSED.values(), ids=IMPOSED)
def imposed(request, dsn):
    """A database with such settings; answers the way to it on which they do not hold."""
    database = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(dsn, autocommit=True) as conn:
        for name, value in request.param.items():
            change = sql.SQL("ALTER DATABASE {} SET {} = {}")
            names = sql.Identifier(database), sql.Identifier(name)
            conn.execute(change.format(*names, sql.Literal(value)))
    reset = dict.fromkeys(IMPOSED["hurried"], "0")
    reset["default_transaction_isolation"] = r"read\ committed"
    return make_conninfo(dsn, options=" ".join(f"-c {n}={v}" for n, v in reset.items()))


@pytest.mark.anyio
@pytest.mark.parametrize("imposed", [IMPOSED["serializable"]], ids=["serializable"], indirect=True)
async def test_all_that_an_application_asks_for(imposed, dsn):
    await errand(dsn)


def test_a_fleet_keeps_the_promise(imposed, dsn, tmp_path):
    """Four workers and two producers, on which the settings hold; workers are killed."""
    jobs = size(400, 4_000)
    known = {"crash_limit": 1_000}
    with (
        scenario(
            "strict roles", dsn, tmp_path, direct=imposed, lease=2.0, chancy=known, known=known
        ) as run,
        closing(Producers(dsn, run.record.path)) as producers,
    ):
        run.armada.start(4)
        producers.start()
        producers.start()
        kills = acked = 0
        while acked < jobs:
            wanted = acked + 50
            until(lambda more=wanted: len(run.history().of_kind("acked")) >= more, 60, "pushes")
            acked = len(run.history().of_kind("acked"))
            run.armada.kill(run.armada.pick())
            kills += 1
            run.armada.replace(4)
        producers.stop()
        run.drained(120)
        run.judged()
    log = run.armada.log.read_text()
    figure("strict roles: kills, lines logged", [kills, len(log.splitlines())])


#: Each row that is written takes so long that a few dozens take too long.
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END';
CREATE TRIGGER slow BEFORE INSERT ON chancy_history FOR EACH ROW EXECUTE FUNCTION slow();
CREATE TRIGGER slow BEFORE UPDATE ON chancy_jobs FOR EACH ROW
    WHEN (OLD.state = 'running' AND NEW.state = 'pending') EXECUTE FUNCTION slow();
"""


def test_what_takes_too_long_as_a_whole_is_written_in_parts(dsn, tmp_path):
    """The jobs of the dead, 50 at once, and outcomes, 200 at once: fewer than 30 fit."""
    known = {"crash_limit": 1_000}
    queue = Queue("q", executor="async", concurrency=200, polling_interval=1)
    with scenario(
        "slow writes", dsn, tmp_path, queues=[queue], lease=2.0, chancy=known, known=known
    ) as run:
        run.push(run.jobs("work", 50, seconds=0.2))
        (first,) = run.armada.start()
        until(lambda: len(run.history().of_kind("begin")) == 50, 30, "all have begun")
        run.armada.kill(first)
        database = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(SLOW)
            change = sql.SQL("ALTER DATABASE {} SET statement_timeout = '300ms'")
            conn.execute(change.format(sql.Identifier(database)))
        run.armada.start(2)
        run.drained(30)
        run.push(run.jobs("work", 200))
        run.drained(30)
        run.judged()
