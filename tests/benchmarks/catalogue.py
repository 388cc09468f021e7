"""All cells: what is measured, on which sides, and what is owed."""

from attrs import evolve

from tests.benchmarks.cells import PYTHON_PEERS, RATE, Cell, Column, Owed, Side, ours, own

#: What everything is measured against, and what it is measured for.
LIMIT, OURS, TRIO = "limit", "chancy, asyncio", "chancy, trio"


def both(module: str) -> tuple[Side, Side]:
    """Ours on both loops."""
    return ours(OURS, module), ours(TRIO, module, backend="trio")


def limit() -> Side:
    """The plain loop beside it."""
    return Side(LIMIT, own("limit"))


QUIET, WITHIN = "chancy, no wake-ups", "chancy, in a transaction"
CLIENTS = (
    ours("chancy", "singles"),
    ours(QUIET, "singles", "--quiet"),
    ours(WITHIN, "singles", "--within"),
)
HINTS = Column("hints", "hints")

PUSHES = (
    Cell(
        "push",
        "jobs are pushed in bulk",
        100_000,
        (limit(), *both("drains")),
        (Owed(OURS, 0.5, LIMIT), Owed(OURS, 1.0, PYTHON_PEERS)),
        reference=LIMIT,
        peers=True,
    ),
    Cell(
        "push-one",
        "one client pushes jobs, each committed before the next; a transaction writes a row beside",
        5_000,
        CLIENTS,
        columns=(RATE, HINTS),
        reference=QUIET,
    ),
    Cell(
        "push-eight",
        "eight client processes do the same at once",
        16_000,
        CLIENTS,
        (Owed("chancy", 0.9, QUIET),),
        columns=(RATE, HINTS),
        reference=QUIET,
    ),
)

PLAIN, PLUGGED = "no plugin", "all plugins"

EXECUTORS = {  # and how many of the jobs each gets, so that none takes ten seconds
    "async": 1.0,
    "thread": 0.3,
    "process": 0.15,
    "subprocess": 0.02,
    "interpreter": 0.1,
    "dask": 0.03,
}

DRAINS = (
    Cell(
        "drain",
        "one worker process runs asynchronous jobs that do nothing",
        100_000,
        (limit(), *both("drains")),
        (Owed(OURS, 0.6, LIMIT), Owed(OURS, 2.0, PYTHON_PEERS), Owed(TRIO, 0.75, OURS)),
        reference=LIMIT,
        peers=True,
    ),
    Cell(
        "drain-two",
        "two worker processes run them, beside two plain loops; none runs twice",
        100_000,
        (limit(), *both("crews")),
        (Owed(OURS, 0.8, LIMIT),),
        reference=LIMIT,
    ),
    Cell(
        "drain-queues",
        "the same jobs on four queues, 50 at once each, and one worker process",
        100_000,
        both("drains"),
        reference=OURS,
    ),
    Cell("drain-1ms", "jobs of 1 ms, 200 at once", 50_000, both("drains"), reference=OURS),
    Cell(
        "drain-threads",
        "plain functions that do nothing, on the thread executor, 20 at once",
        20_000,
        both("drains"),
        reference=OURS,
    ),
    Cell(
        "drain-processes",
        "plain functions that do nothing, on the process executor with two children",
        10_000,
        both("drains"),
        (Owed(OURS, 1_000),),
        reference=OURS,
    ),
    Cell(
        "plugins",
        "the drain with all plugins that are shipped, which nobody has asked for anything, and with"
        " none, on asyncio",
        300_000,
        (ours(PLAIN, "drains", "--plain"), ours(PLUGGED, "drains")),
        (Owed(PLUGGED, 0.9, PLAIN),),
        reference=PLAIN,
    ),
    Cell(
        "executors",
        "what a job that does nothing takes on each executor: of the processor, on asyncio, in the"
        " worker with its children, and in the server",
        50_000,
        tuple(
            evolve(ours(name, "executors", "--on", name), share=share)
            for name, share in EXECUTORS.items()
        ),
        columns=(
            RATE,
            Column("worker_us", "worker, µs a job"),
            Column("server_us", "server, µs a job"),
            Column("jobs", "jobs"),
        ),
        reference="async",
    ),
    Cell(
        "fairness",
        "two worker processes, ten at once each, share jobs of 20 ms: the longest time in which one"
        " ran nothing while jobs waited",
        2_000,
        both("crews"),
        (Owed(OURS, figure="idle_ms", most=100), Owed(TRIO, figure="idle_ms", most=100)),
        columns=(
            Column("idle_ms", "idle, ms", 1),
            RATE,
            Column("used", "of all slots used", 2),
            Column("share", "largest share", 2),
        ),
    ),
)

SHAPES = ("layers", "fan")
WORKFLOWS = (
    Cell(
        "workflow",
        "one worker process pushes and runs a workflow: steps in layers of ten, or one that all"
        " others wait for, and one that waits for all; beside such of a hundredth of the steps",
        10_000,
        tuple(
            ours(f"{shape}, {size}", "flows", shape, *how)
            for shape in SHAPES
            for size, how in (("100", ("--few",)), ("10,000", ()))
        ),
        tuple(
            Owed(f"{shape}, 10,000", of=f"{shape}, 100", figure="us", most=1.3) for shape in SHAPES
        ),
        columns=(
            Column("us", "µs a step"),
            Column("push_us", "of these, the push", 1),
            Column("rate", "steps/s"),
        ),
        reference="layers, 100",
    ),
)

DASK = "Dask itself"
REPEATED = (
    Column("seconds", "seconds", 1),
    Column("settled", "settled"),
    Column("again", "run more than once"),
    Column("live", "of these with a live task"),
)

REMOTE = (
    Cell(
        "remote",
        "plain functions of 5 ms of a processor's time on a Dask cluster of two processes, 64 at "
        "once, beside the same functions given to it by `Client.map`",
        10_000,
        (Side(DASK, own("remote", "--direct")), *both("remote")),
        (Owed(OURS, 0.8, DASK), Owed(TRIO, 0.8, DASK)),
        reference=DASK,
    ),
    *(
        Cell(
            f"remote-{who}-dies",
            f"the same, and {what} is killed midway",
            10_000,
            (ours(OURS, "remote"),),
            (Owed(OURS, figure="live", most=0),),
            columns=(RATE, *REPEATED),
            rounds=1,
        )
        for who, what in (("process", "a process of the cluster"), ("worker", "our worker"))
    ),
)

MILLISECONDS = (
    Column("p50_ms", "p50, ms", 2),
    Column("p99_ms", "p99, ms", 2),
    Column("most_ms", "most, ms", 1),
)

QUIETLY = (
    Cell(
        "latency",
        "from the commit of a push to the first line of the job, the worker being idle",
        200,
        both("latency"),
        tuple(
            Owed(who, figure=figure, most=most)
            for who in (OURS, TRIO)
            for figure, most in (("p50_ms", 5), ("p99_ms", 25))
        ),
        unit="probes",
        columns=MILLISECONDS,
    ),
    Cell(
        "latency-load",
        "the same while the worker does half of what it can",
        200,
        both("latency"),
        unit="probes",
        columns=(*MILLISECONDS, Column("load", "load, jobs/s")),
    ),
    Cell(
        "idle",
        "twenty worker processes have nothing to do on ten queues",
        60,
        both("idle"),
        (
            Owed(OURS, figure="statements", most=20),
            Owed(OURS, figure="cpu_most", most=2),
        ),
        unit="seconds",
        columns=(
            Column("statements", "statements/s in all", 1),
            Column("cpu_most", "most of a core, %", 2),
            Column("cpu_mean", "mean, %", 2),
            Column("rss_mb", "largest, MB"),
        ),
        rounds=2,
    ),
    Cell(
        "memory",
        "a worker's resident memory after its jobs, beside that when it was warm",
        1_000_000,
        both("memory"),
        (Owed(OURS, figure="growth", most=1.1), Owed(TRIO, figure="growth", most=1.1)),
        columns=(
            Column("growth", "times that when warm", 3),
            Column("start_mb", "at the start, MB", 1),
            Column("warm_mb", "warm, MB", 1),
            Column("after_mb", "after, MB", 1),
        ),
        rounds=1,
    ),
)

EMPTY = "empty"
GROWN = {
    "1 million finished": ("--finished", "1000000"),
    "10 million finished": ("--finished", "10000000"),
    "300,000 pending": ("--pending", "300000"),
    "1 million for later": ("--scheduled", "1000000"),
    "100 queues": ("--queues", "100"),
}
CLEAN, PINNED = "clean", "a snapshot is held"
READ = "the history is read"
ALONE, DROPPED, DELETED = "nothing goes", "the day is dropped", "the day is deleted"
READ_ALONE, READ_DROPPED = "nothing goes, and it is read", "the day is dropped, and it is read"
LOCKS = (
    Column("lock_ms", "longest wait for a lock, ms"),
    Column("seconds", "the day went in, s", 2),
    Column("gone", "rows"),
)

AGED = (
    Cell(
        "growth",
        "one worker drains jobs in a database that has grown",
        50_000,
        (ours(EMPTY, "growth"), *(ours(name, "growth", *how) for name, how in GROWN.items())),
        tuple(
            owed
            for name in GROWN
            for owed in (
                Owed(name, 0.9, EMPTY),
                Owed(name, of=EMPTY, figure="buffers", most=1.5),
                Owed(name, of=EMPTY, figure="claim_p99_ms", most=2),
            )
        ),
        columns=(
            RATE,
            Column("claim_p99_ms", "claim p99, ms", 2),
            Column("buffers", "pages per claimed row", 1),
        ),
        reference=EMPTY,
        keeps=True,
    ),
    Cell(
        "pressure",
        "500 jobs a second for ten minutes",
        600,
        (
            ours(PINNED, "pressure", "--pin"),
            ours(READ, "pressure", "--readers", "2"),
        ),
        tuple(
            Owed(name, figure=figure, most=most)
            for name in (PINNED, READ)
            for figure, most in (("backlog", 500), ("claim_p99_ms", 50), ("back", 60))
        ),
        unit="seconds",
        columns=(
            Column("claim_p99_ms", "claim p99, ms", 2),
            Column("peace_p99_ms", "before, ms", 2),
            Column("backlog", "most behind, jobs"),
            Column("late_p99_ms", "late p99, ms", 1),
            Column("back", "normal after, s"),
            Column("table_mb", "table, MB", 1),
            Column("index_mb", "indexes, MB", 1),
            Column("dead", "dead rows"),
            Column("hot", "HOT share", 2),
        ),
        rounds=1,
    ),
    Cell(
        "drain-pinned",
        "one worker drains while another connection holds a snapshot open",
        100_000,
        (ours(CLEAN, "drains", "--clean"), ours(PINNED, "drains")),
        (Owed(PINNED, 0.7, CLEAN),),
        reference=CLEAN,
    ),
    Cell(
        "drop-a-day",
        "a day of a million finished jobs goes while one worker drains",
        100_000,
        (
            ours(ALONE, "dropping"),
            ours(DROPPED, "dropping", "--drop"),
            ours(DELETED, "dropping", "--delete"),
        ),
        (Owed(DROPPED, 0.9, ALONE), Owed(DROPPED, figure="lock_ms", most=100)),
        columns=(RATE, *LOCKS),
        reference=ALONE,
    ),
    Cell(
        "retention",
        "the plugin retention removes a day of a million finished jobs while its worker drains",
        100_000,
        (
            ours(ALONE, "retaining"),
            ours(DROPPED, "retaining", "--drop"),
            ours(READ_ALONE, "retaining", "--readers", "2"),
            ours(READ_DROPPED, "retaining", "--drop", "--readers", "2"),
            ours("its jobs are deleted by a rule", "retaining", "--walk"),
            ours("the day is written down and dropped", "retaining", "--export"),
        ),
        (
            Owed(DROPPED, 0.9, ALONE),
            Owed(READ_DROPPED, 0.9, READ_ALONE),
            Owed(DROPPED, figure="lock_ms", most=100),
            Owed(READ_DROPPED, figure="lock_ms", most=100),
        ),
        columns=(RATE, *LOCKS, Column("read_ms", "longest read, ms")),
        reference=ALONE,
    ),
)

CELLS = (*PUSHES, *DRAINS, *WORKFLOWS, *REMOTE, *QUIETLY, *AGED)
