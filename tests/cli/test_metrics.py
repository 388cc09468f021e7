"""`chancy metrics`, as a person types it and as a program calls it."""

import json
import re
from uuid import uuid4

import anyio
import pytest

from chancy import Chancy
from chancy_plugins.metrics import statements
from chancy_plugins.metrics.key import Key, MetricKind
from chancy_plugins.metrics.tally import Cell
from tests.terminal import Shell


def cell(*values: float) -> Cell:
    made = Cell()
    for value in values:
        made.observe([value])
    return made


@pytest.fixture
def measured(shell: Shell, dsn: str) -> Shell:
    """A shell whose database has metrics: some are merged, some are not."""

    async def record() -> None:
        async with Chancy(dsn) as chancy:
            of = {"func": "f", "queue": "mail"}
            some = {
                Key.of(MetricKind.COUNTER, "jobs.finished", state="succeeded", **of): cell(1, 1, 1),
                Key.of(MetricKind.HISTOGRAM, "jobs.duration", "s", **of): cell(0.05, 0.1, 0.2),
                Key.of(MetricKind.GAUGE, "acme.fill", "bytes", tank="a"): cell(5_000_000),
            }
            for age in (600, 0):
                await chancy.database.run(
                    statements.write(chancy.names, uuid4(), "alpha", 1, some, age=age)
                )
                await chancy.database.run(statements.merge(chancy.names, 3))

    anyio.run(record)
    return shell


def test_list(measured: Shell) -> None:
    shown = measured.people("metrics", "list")
    assert re.search(r"jobs\.duration +histogram +s +func, queue +1 ", shown)
    told = measured.programs("metrics", "list", "acme.").values
    assert [(value["name"], value["kind"], value["labels"]) for value in told] == [
        ("acme.fill", "gauge", ["tank"])
    ]
    assert measured.programs("metrics", "list", "%").values == []


def test_show_draws_and_tells(measured: Shell) -> None:
    shown = measured.people("metrics", "show", "jobs.finished", "--by", "queue", "--by", "state")
    line = next(line for line in shown.splitlines() if "queue=mail" in line)
    assert "state=succeeded" in line
    assert line.count("█") == 2
    assert re.search(r" 6 +0\.00167", line)
    shown = measured.people("metrics", "show", "jobs.duration", "--last", "30min")
    assert re.search(r"jobs\.duration .* 6 +117 ms +\d+ ms|50 ms", shown)
    assert "200 ms" in shown
    assert "5 MB" in measured.people("metrics", "show", "acme.fill", "--where", "tank=a")
    assert "nothing of acme.no" in measured.people("metrics", "show", "acme.no")


def test_show_as_json(measured: Shell) -> None:
    told = measured.programs("metrics", "show", "jobs.duration", "--by", "worker").value
    assert (told["kind"], told["unit"], told["labels"]) == ("histogram", "s", {"worker": "alpha"})
    assert told["resolution"] == 60
    assert [point["count"] for point in told["points"]] == [3, 3]
    assert told["points"][0]["p99"] == pytest.approx(0.1, rel=0.05)  # of three: the second
    assert told["points"][0]["high"] == 0.2


def test_counts(measured: Shell) -> None:
    (told,) = measured.programs("metrics", "counts").values
    assert (told["queue"], told["state"], told["count"]) == ("mail", "succeeded", 6)
    assert re.search(r"mail +succeeded +6 +yes", measured.people("metrics", "counts"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--last", "yesterday"), "a span of time is such as 30min"),
        (("--where", "mail"), "as queue=mail"),
        (("--resolution", "2min"), "there are 1min"),
    ],
)
def test_what_makes_no_sense(measured: Shell, wrong: tuple[str, ...], said: str) -> None:
    told = measured.programs("metrics", "show", "jobs.finished", *wrong, code=2)
    assert said in json.loads(told.err)["message"]


def test_without_its_tables_it_says_what_to_run(shell: Shell, empty_dsn: str) -> None:
    assert "run `chancy migrate`" in shell.people("metrics", "list", code=2, CHANCY_DSN=empty_dsn)
