import json
import subprocess
import sys
from pathlib import Path

from chancy import Chancy, job
from chancy_core.testing import sync_drain

CHANCY = str(Path(sys.executable).with_name("chancy"))


@job
def sell() -> None:
    pass


def report(chancy: Chancy, *words: str) -> str:
    command = [CHANCY, "acme", "report", "--dsn", str(chancy.dsn), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_it_counts_the_jobs_of_each_tenant(chancy_app: Chancy) -> None:
    for name in ("ada", "bob", "ada"):
        chancy_app.sync_push(sell.bind().options(meta={"tenant": name}))
    sync_drain(chancy_app).check()
    told = [json.loads(line) for line in report(chancy_app, "--json").splitlines()]
    assert told == [{"tenant": "ada", "jobs": 2}, {"tenant": "bob", "jobs": 1}]
    assert report(chancy_app).split() == ["tenant", "jobs", "ada", "2", "bob", "1"]
    assert report(chancy_app, "--days", "0", "--json") == ""


def test_it_is_listed() -> None:
    ran = subprocess.run([CHANCY, "--help"], capture_output=True, text=True, check=True)
    assert "acme  " in ran.stdout
