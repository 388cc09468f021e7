"""Each command, as a person types it into a terminal and as a program calls it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from chancy import Chancy, Queue, Worker, job
from tests.terminal import Acme, Shell
from tests.told import hearing


@job(name="app.welcome", queue="mail")
async def welcome(name: str, times: int = 1) -> str:
    return f"Welcome, {name}" + "!" * times


@job(name="app.broken", queue="mail")
async def broken() -> None:
    raise ValueError("no luck")


@pytest.fixture
def chancy(dsn: str) -> Iterator[Chancy]:
    with Chancy(dsn) as chancy:
        chancy.sync_declare(Queue("mail", executor="async"))
        yield chancy


@contextmanager
def working(dsn: str) -> Iterator[None]:
    """A worker in this process, beside what the block does."""

    async def work(*, task_status) -> None:
        async with Chancy(dsn) as chancy, hearing(Worker(chancy, name="ann", tags={"has=time"})):
            task_status.started()
            await anyio.sleep_forever()

    with start_blocking_portal() as portal:
        future, _ = portal.start_task(work)
        try:
            yield
        finally:
            future.cancel()


def test_push(shell: Shell, chancy: Chancy) -> None:
    id_ = shell.people("push", "welcome", "name=Ada", "times=3").strip()
    pushed = chancy.sync_get_job(id_)
    assert (pushed.func, pushed.queue) == ("app.welcome", "mail")
    assert (pushed.kwargs, pushed.max_attempts) == ({"name": "Ada", "times": 3}, 5)
    told = shell.programs("push", "app.welcome", 'name:="Bob"', "--queue", "other", "--priority=3")
    job = chancy.sync_get_job(told.value["id"])
    assert told.value == {"id": str(job.id), "new": True, "queue": "other", "func": "app.welcome"}
    assert (job.kwargs, job.priority) == ({"name": "Bob"}, 3)


def test_push_knows_a_function_by_its_former_name(shell: Shell, chancy: Chancy) -> None:
    id_ = shell.people("push", "app.hello", "name=Ada").strip()
    assert chancy.sync_get_job(id_).func == "app.welcome"


def test_push_waits_for_the_result_if_it_is_told_to(shell: Shell, chancy: Chancy, dsn: str) -> None:
    with working(dsn):
        assert shell.people("push", "welcome", "name=Ada", "--wait") == "Welcome, Ada!\n"
        done = shell.programs("push", "welcome", "name=Bob", "--wait", "--trio").value
        assert (done["state"], done["returned"], done["attempts"]) == (
            "succeeded",
            "Welcome, Bob!",
            1,
        )
        shown = shell.people("push", "broken", "--wait", code=1)
        assert "is failed: ValueError: no luck" in shown
        failed = shell.programs("push", "broken", "--wait", code=1).value
        assert failed["errors"][0]["message"] == "no luck"


def test_push_waits_no_longer_than_it_is_told_to(shell: Shell, chancy: Chancy) -> None:
    shown = shell.people("push", "welcome", "name=Ada", "--wait", "--timeout", "0.1", code=1)
    assert "has not ended within 0.1 s; it goes on" in shown


def test_push_takes_many_from_a_file_or_a_pipe(shell: Shell, chancy: Chancy) -> None:
    packed = [json.dumps(welcome.bind(name=name).pack()) for name in ("a", "b", "c")]
    (shell.folder / "jobs.jsonl").write_text("\n".join(packed))
    shown = shell.people("push", "--file", "jobs.jsonl")
    assert "3 jobs pushed" in shown
    told = shell.programs("push", "--file", "-", given="\n".join(packed[:2]))
    names = [chancy.sync_get_job(value["id"]).kwargs["name"] for value in told.values]
    assert names == ["a", "b"]
    refused = shell.call("push", "--file", "-", given=f"{packed[0]}\nnonsense")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "chancy: -, line 2: " in refused.stderr
    assert len(chancy.sync_list_jobs().jobs) == 5


def test_queue_list(shell: Shell, chancy: Chancy) -> None:
    chancy.sync_declare(Queue("gpu", executor="async", concurrency=2, tags={"has=gpu"}))
    head, *rows = shell.people("queue", "list").splitlines()
    assert head.split()[:4] == ["name", "state", "executor", "concurrency"]
    assert [row.split()[:4] for row in rows if "gpu" in row] == [["gpu", "active", "async", "2"]]
    told = shell.programs("queue", "list").values
    assert [Queue.unpack(value) for value in told] == chancy.sync_get_all_queues()


def test_queue_show(shell: Shell, chancy: Chancy) -> None:
    assert "polling interval" in shell.people("queue", "show", "mail")
    assert Queue.unpack(shell.programs("queue", "show", "mail").value).executor == "async"
    told = shell.programs("queue", "show", "letters", code=2)
    assert json.loads(told.err)["error"] == "QueueNotFound"


def test_queue_declare(shell: Shell, chancy: Chancy) -> None:
    every = (
        *("--executor", "process", "--executor-options", '{"max_jobs_per_child": 9}'),
        *("--concurrency", "3", "--tag", "has=gpu", "--tag", "has=disk"),
        *("--rate-limit", "5", "--rate-limit-window", "1m", "--polling-interval", "2"),
        *("--eager-polling", "--paused"),
    )
    asked = Queue(
        "all",
        executor="process",
        executor_options={"max_jobs_per_child": 9},
        concurrency=3,
        tags={"has=gpu", "has=disk"},
        rate_limit=5,
        rate_limit_window=60,
        polling_interval=2,
        eager_polling=True,
        state=Queue.State.PAUSED,
    )
    assert Queue.unpack(shell.programs("queue", "declare", "all", *every).value) == asked
    assert chancy.sync_get_queue("all") == asked
    shown = shell.people("queue", "declare", "all", "--concurrency", "4")
    assert "queue 'all' was there and keeps its settings; --upsert changes them" in shown
    told = shell.programs("queue", "declare", "all", "--concurrency", "4", "--upsert").value
    assert Queue.unpack(told) == asked.options(concurrency=4)
    told = shell.programs("queue", "declare", "bad", "--executor", "abacus", code=2)
    assert "installed packages offer async" in json.loads(told.err)["message"]
    shell.programs("queue", "declare", "bad", "--executor", "abacus", "--unchecked")


def test_queue_scale(shell: Shell, chancy: Chancy) -> None:
    chancy.sync_pause_queue("mail")
    assert shell.programs("queue", "scale", "mail", "7").value["concurrency"] == 7
    assert chancy.sync_get_queue("mail").state is Queue.State.PAUSED
    shell.people("queue", "scale", "mail")
    assert chancy.sync_get_queue("mail").concurrency is None


def test_queue_pause_and_resume(shell: Shell, chancy: Chancy) -> None:
    assert "paused" in shell.people("queue", "pause", "mail", "--for", "10m")
    due = chancy.sync_get_queue("mail").resume_at
    assert due is not None
    assert "active" in shell.people("queue", "resume", "mail")
    told = shell.programs("queue", "pause", "mail", "--until", "2100-01-01T00:00Z").value
    assert (told["state"], told["resume_at"]) == ("paused", "2100-01-01T00:00:00+00:00")
    assert shell.programs("queue", "resume", "mail").value["state"] == "active"
    shown = shell.people("queue", "pause", "mail", "--for=1h", "--until=2100-01-01", code=2)
    assert "--for and --until are two ways to say one thing" in shown


def test_queue_delete(shell: Shell, chancy: Chancy) -> None:
    kept = chancy.sync_push(welcome.bind(name="Ada"))
    assert "nothing was done" in shell.people("queue", "delete", "mail", answer="no\n", code=2)
    told = shell.programs("queue", "delete", "mail", code=2)
    assert "Nobody can be asked here: say --yes" in json.loads(told.err)["message"]
    told = shell.programs("queue", "delete", "mail", "--keep-jobs", "-y")
    assert told.value == {"name": "mail", "purged": 0}
    assert chancy.sync_get_job(kept).state == "pending"
    chancy.sync_declare(Queue("mail", executor="async"))
    assert "deleted, with 1 waiting jobs" in shell.people("queue", "delete", "mail", answer="y\n")
    assert chancy.sync_get_all_queues() == []


def test_job_list(shell: Shell, chancy: Chancy) -> None:
    one = chancy.sync_push(welcome.bind(name="a").options(meta={"tenant": "acme", "level": 3}))
    two = chancy.sync_push(broken.bind())
    shown = shell.people("job", "list", "-n", "1")
    assert str(two) in shown
    assert str(one) not in shown
    assert "there are more than these 1" in shown
    told = shell.programs("job", "list")
    assert [value["id"] for value in told.values] == [str(two), str(one)]
    which = ("--func", "app.welcome", "--state", "pending", "--meta", "level:=3", "--since", "1h")
    assert shell.programs("job", "list", *which).value["meta"] == {"tenant": "acme", "level": 3}
    assert shell.programs("job", "list", "--before", "1h").values == []
    told = shell.programs("job", "list", "--state", "faled", code=2)
    assert "there are scheduled, pending, running" in json.loads(told.err)["message"]


def test_job_show(shell: Shell, chancy: Chancy) -> None:
    reference = str(chancy.sync_push(welcome.bind(name="Ada")))
    shown = shell.people("job", "show", reference)
    assert '{"name": "Ada"}' in shown
    assert shell.programs("job", "show", reference).value["kwargs"] == {"name": "Ada"}
    told = shell.programs("job", "show", "00000000-0000-7000-8000-000000000000", code=2)
    assert json.loads(told.err)["error"] == "JobNotFound"


def test_job_cancel_and_retry(shell: Shell, chancy: Chancy) -> None:
    ids = [str(chancy.sync_push(welcome.bind(name=name))) for name in "abc"]
    told = shell.programs("job", "cancel", ids[0])
    assert told.value == {"id": ids[0], "done": True, "what": "cancelled"}
    told = shell.programs("job", "cancel", ids[0], code=1)
    assert told.value == {"id": ids[0], "done": False, "what": "it is cancelled"}
    assert "2 jobs are meant" in shell.people(
        "job", "cancel", "--queue=mail", "--state=pending", "--dry-run"
    )
    shown = shell.people("job", "cancel", "--queue", "mail", answer="y\n")
    assert "Cancel 3 jobs? [y/N]" in shown
    assert "2 cancelled" in shown
    assert "1 skipped: it is cancelled" in shown
    assert "3 pending" in shell.people("job", "retry", "--state", "cancelled")
    shell.programs("job", "cancel", *ids)
    assert [value["done"] for value in shell.programs("job", "retry", "--all").values] == [True] * 3


def test_job_purge(shell: Shell, chancy: Chancy) -> None:
    ids = [str(chancy.sync_push(welcome.bind(name=name))) for name in "abc"]
    assert shell.programs("job", "purge", ids[0]).value["done"]
    told = shell.programs("job", "purge", "--all", code=2)
    assert "Purge 2 jobs? Nobody can be asked here: say --yes" in json.loads(told.err)["message"]
    assert "say which jobs: ids, or" in shell.people("job", "purge", code=2)
    assert "2 purged" in shell.people("job", "purge", "--func", "app.welcome", "--yes")
    assert chancy.sync_list_jobs().jobs == []


def test_workers(shell: Shell, chancy: Chancy, dsn: str) -> None:
    assert "no worker has a row" in shell.people("workers")
    with working(dsn):
        told = shell.programs("workers").value
        assert (told["name"], told["alive"]) == ("ann", True)
        assert "has=time" in told["tags"]
        assert "ann" in shell.people("workers")


def test_top(shell: Shell, chancy: Chancy, dsn: str) -> None:
    assert "nothing runs" in shell.people("top", "--once")
    with working(dsn):
        told = shell.programs("top").value
        assert (told["worker"], told["func"]) == ("ann", "")
        assert told["cpu"].endswith(" s")
        assert told["memory"].endswith(" MiB")
        assert "ann" in shell.people("top", "--once")


@pytest.mark.parametrize("seconds", ["0.1", "0", "-1", "3601", "nan", "inf"])
def test_top_looks_neither_without_a_pause_nor_never(
    shell: Shell, chancy: Chancy, seconds: str
) -> None:
    told = json.loads(shell.programs("top", "--every", seconds, code=2).err)["message"]
    assert f'"{float(seconds)}" for --every' in told
    assert "Between two looks are 0.2 to 3600 seconds." in told


def test_top_looks_as_often_as_it_is_told(shell: Shell, chancy: Chancy) -> None:
    assert "nothing runs" in shell.people("top", "--once", "--every", "0.2")
    assert "nothing runs" in shell.people("top", "--once", "--every", "3600")


def test_migrate(shell: Shell, empty_dsn: str) -> None:
    new = {"CHANCY_DSN": empty_dsn}
    shown = shell.people("queue", "list", code=2, **new)
    assert "run `chancy migrate`, or `await chancy.migrate()`" in shown
    assert shell.programs("migrate", "--dry-run", **new).values[0]["line"] == "core"
    assert "core" in shell.people("migrate", **new)
    assert shell.programs("migrate", **new).values == []
    none = [f"--to={line}=0" for line in Chancy("host=nowhere").migrator().lines]
    down = shell.programs("migrate", *none, **new)
    assert down.values[-1] == {"line": "core", "version": 1, "name": "jobs", "way": "down"}
    told = shell.programs("migrate", "--to", "core=99", code=2, **new)
    assert "line 'core' has no version 99" in json.loads(told.err)["message"]


def test_migrate_writes_its_statements_without_a_database(bare: Shell, empty_dsn: str) -> None:
    import psycopg

    script = bare.programs("migrate", "--sql", "--prefix", "acme_").value["sql"]
    assert bare.people("migrate", "--sql", "--prefix", "acme_").strip() == script.strip()
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(script.encode())
        with Chancy(empty_dsn, prefix="acme_") as chancy:
            chancy.sync_check()
        lines = Chancy("host=nowhere").migrator().lines
        way = [word for line in lines for word in (f"--since={line}=1", f"--to={line}=0")]
        back = bare.programs("migrate", "--sql", "--prefix=acme_", *way)
        conn.execute(back.value["sql"].encode())
        assert conn.execute(
            "SELECT to_regclass('acme_jobs'), to_regclass('acme_migrations')"
        ).fetchone() == (None, None)
    assert "--since goes with --sql" in bare.people("migrate", "--since", "core=1", code=2)


@pytest.mark.parametrize("shell_", ["bash", "zsh", "fish"])
def test_completion(bare: Shell, shell_: str) -> None:
    script = bare.programs("completion", shell_).value["script"]
    for word in ("chancy", "queue", "declare", "concurrency", "traceback"):
        assert word in script
    if shell_ == "bash":
        assert bare.people("completion", shell_).strip() == script.strip()


def test_check(shell: Shell, chancy: Chancy) -> None:
    shown = shell.people("check")
    assert "CHANCY_ALLOW is not set: all that is installed comes in" in shown
    assert "3 functions are registered as jobs" in shown
    allowed = {"CHANCY_ALLOW": ""}
    told = {value["what"]: value["ok"] for value in shell.programs("check", **allowed).values}
    good = {"application", "schema", "notifications", "indexes"}
    told.pop("server")  # what tests run on does not keep what it has taken
    assert told == dict.fromkeys(good, True) | {"workers": None}
    chancy.sync_declare(Queue("bad", executor="abacus"), check=False)
    told = shell.programs("check", code=1, **allowed).values
    assert [value["what"] for value in told if value["ok"] is False] == ["queues"]
    told = shell.programs("check", "--schema", "nowhere", code=1, CHANCY_APP="", **allowed).values
    assert any("run `chancy migrate`" in finding["says"] for finding in told)
    told = shell.programs("check", "--app", "nowhere", code=1, **allowed).values
    assert [value["what"] for value in told] == ["application"]


def test_plugins(bare: Shell, acme: Acme) -> None:
    acme.install("refunds = acme_commands:refunds", "wrong = acme_commands:nothing")
    assert "chancy.executors" in bare.people("plugins")
    told = bare.programs("plugins", "--load", code=1).values
    problems = {value["name"]: value["problem"] for value in told if value["problem"]}
    assert list(problems) == ["wrong"]
    assert "acme 1.0 offers 'wrong'" in problems["wrong"]
    told = bare.programs("plugins", CHANCY_ALLOW="other").values
    standing = {value["name"]: value["standing"] for value in told}
    assert (standing["async"], standing["refunds"]) == ("in", "not allowed")


def test_roles(bare: Shell) -> None:
    assert "ensure_partitions" in bare.people("roles")
    told = bare.programs("roles").values
    assert {"role": "work", "privilege": "DELETE", "on": "jobs", "columns": []} in told
    how = ("--sql", "--prefix", "a_", "--role-prefix", "acme_")
    script = bare.programs("roles", *how).value["sql"]
    assert script.strip() == bare.people("roles", *how).strip()
    assert 'GRANT DELETE ON TABLE "public"."a_jobs" TO "acme_work";' in script
    assert "a_migration_lock" in script
    assert 'CREATE ROLE "chancy_owner" NOLOGIN;' in bare.people("roles", "--sql")
    assert "--role-prefix goes with --sql" in bare.people("roles", "--role-prefix", "a_", code=2)
    assert "are PostgreSQL's own" in bare.people("roles", "--sql", "--role-prefix=pg_", code=2)
