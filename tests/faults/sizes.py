"""How much is attacked: in each change, and in the run before a release; and what was measured."""

import json
import os
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

RELEASE = os.environ.get("CHANCY_FAULTS") == "release"


def size(per_change: T, release: T) -> T:
    """The one of the two that counts in this run."""
    return release if RELEASE else per_change


def figure(name: str, value: object) -> None:
    """Note what was measured or counted, for the report of a release; printed in any case."""
    print(f"{name}: {value}")
    if told := os.environ.get("CHANCY_FAULTS_FIGURES"):
        with Path(told).open("a") as file:
            file.write(json.dumps([name, value]) + "\n")
