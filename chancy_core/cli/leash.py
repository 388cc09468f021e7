"""What ties the worker of `chancy dev` to it: a pipe, which closes however its holder ends.

The one end tells the worker to stop, a byte each time; the other does what the byte says, and if
the pipe closes, it stops the worker and sees to it that the process ends.
"""

import os
import signal
import threading
import time

from chancy_core.cli.failing import LEFT_BEHIND

#: Stop, as Ctrl-C does: with talk. Stop, as SIGTERM does: without.
TALK, QUIET = b"i", b"t"
_SIGNALS = {TALK: signal.SIGINT, QUIET: signal.SIGTERM}


def follow(fd: int, patience: float) -> None:
    """Do from now on what is said through the pipe *fd*, in a thread of its own.

    Once it has closed, the process ends within *patience* seconds, whatever it is doing.
    """
    threading.Thread(target=_follow, args=(fd, patience), name="leash", daemon=True).start()


def _follow(fd: int, patience: float) -> None:
    while told := os.read(fd, 1):
        os.kill(os.getpid(), _SIGNALS[told])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(patience)
    os._exit(LEFT_BEHIND)
