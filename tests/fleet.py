"""Worker processes of one test, and what the database knows of them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import psycopg

SCRIPT = Path(__file__).parent / "acceptance" / "member.py"


def until(true: Callable[[], Any], within: float, what: str) -> float:
    """Return after how many seconds *true* was; fail when it is not within so many."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within, f"not within {within} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


class Fleet:
    """Worker processes by their names; all are gone at the end, whatever happened."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        self.conn = self._ends.enter_context(psycopg.connect(self.dsn, autocommit=True))
        return self

    def __exit__(self, *exc: object) -> None:
        self._ends.close()

    def start(
        self, name: str, backend: str, *, environment: Mapping[str, str] = {}, **options: float
    ) -> subprocess.Popen[str]:
        told = [f"--{option}={value}" for option, value in options.items()]
        process = self.processes[name] = subprocess.Popen(
            [sys.executable, "-W", "error", str(SCRIPT), backend, name, *told],
            env=os.environ | {"CHANCY_DSN": self.dsn} | dict(environment),
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ends.callback(process.communicate)
        self._ends.callback(process.kill)
        return process

    def ask(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        return self.conn.execute(query, params).fetchall()

    def one(self, query: str, *params: object) -> Any:
        return self.ask(query, *params)[0][0]

    @property
    def known(self) -> dict[str, Any]:
        """The incarnations of the living workers, by name."""
        return dict(self.ask("SELECT name, id FROM chancy_workers WHERE NOT dead"))

    def running(self) -> dict[str, set[Any]]:
        """The ids of the running jobs, by the name of their worker."""
        rows = self.ask(
            "SELECT w.name, j.id FROM chancy_jobs j JOIN chancy_workers w ON w.id = j.worker"
            " WHERE j.state = 'running'"
        )
        found: dict[str, set[Any]] = {}
        for name, id_ in rows:
            found.setdefault(name, set()).add(id_)
        return found

    def until_live(self, names: Iterable[str]) -> None:
        wanted = set(names)
        until(lambda: wanted <= self.known.keys(), 30, f"workers {sorted(wanted)}")


def left(process: subprocess.Popen[str], number: int, within: float) -> float:
    """Send a signal, and return after how many seconds the process had left."""
    began = time.monotonic()
    process.send_signal(number)
    process.wait(within + 20)
    return time.monotonic() - began


def heard(process: subprocess.Popen[str], *lines: str) -> None:
    """Return once the process has said just these lines."""
    assert process.stdout is not None
    for line in lines:
        assert process.stdout.readline() == f"{line}\n"
