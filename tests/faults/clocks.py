"""Sets the clock of a worker's process while it works."""

import threading
import time
from itertools import cycle
from typing import Any

from chancy import Worker
from tests.acceptance.wrong_clock import set_ahead


def step(_: Worker, options: dict[str, Any]) -> None:
    """Be wrong by each of the steps in turn, each for half a second."""

    def steps() -> None:
        for ahead in cycle(options["steps"]):
            set_ahead(ahead)
            time.sleep(0.5)

    threading.Thread(target=steps, daemon=True).start()
