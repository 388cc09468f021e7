"""The other end of the pipe: performs one call after the other, until its worker has ended."""

import json
import os
import select
import sys
import threading

from chancy_core import beside, registry
from chancy_core.executor import Capability
from chancy_core.perform import perform


def main() -> None:
    told = json.loads(sys.argv[1])
    os.nice(told["niceness"])
    # The pipe is ours: what jobs read or print is not to be taken for a message.
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    threading.Thread(target=leave_with_worker, args=[calls.fileno()], daemon=True).start()
    registry.load_sources(told["sources"])
    hooks, able = beside.loaded(told["plugins"]), Capability(told["capabilities"])
    while size := calls.read(4):
        message = calls.read(int.from_bytes(size, "big"))
        answer = perform(message, able, told["backend"], hooks=hooks)
        answers.write(len(answer).to_bytes(4, "big") + answer)
        answers.flush()


def leave_with_worker(pipe: int) -> None:
    """End this process when the other end of the pipe is closed, whatever runs here."""
    end = select.poll()
    end.register(pipe, 0)  # of what arrives it is not told, only of the end
    end.poll()
    os._exit(0)
