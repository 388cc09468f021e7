"""Makes worker processes quickly: it has imported what they need, and forks.

Speaks JSON, a line each way: `{"start": options}` answers `{"pid": n}`; `{"ended": null}` answers
`{"ended": {pid: status}}` of those that have ended since. A process that has ended keeps its
number until that was asked, so that no signal can reach a stranger. When its input ends it kills
what is left, and ends.
"""

import ctypes
import json
import os
import signal
import sys
import traceback
from typing import Any


def start(options: dict[str, Any]) -> int:
    """Fork a worker; answers its number."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        if sys.platform == "linux":  # whoever kills the nursery has killed us
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        log = os.open(options["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        import logging

        level = options.get("level", "WARNING")
        logging.basicConfig(level=level, format="%(asctime)s %(process)d %(name)s %(message)s")
        from tests.faults import member

        status = member.be(options)
    except BaseException:  # noqa: BLE001 - whatever it is, it must not go on as a second nursery
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    if (ahead := os.environ.get("CHANCY_FAULTS_AHEAD")) is not None:
        from tests.acceptance.wrong_clock import set_ahead

        set_ahead(float(ahead))
    import chancy_core.life  # loaded once, for all
    from tests.faults import member

    assert chancy_core.life
    assert member
    alive: set[int] = set()
    for line in sys.stdin:
        asked = json.loads(line)
        if "start" in asked:
            pid = start(asked["start"])
            alive.add(pid)
            answer: dict[str, Any] = {"pid": pid}
        else:
            answer = {"ended": {}}
            for pid in sorted(alive):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    answer["ended"][pid] = os.waitstatus_to_exitcode(status)
                    alive.discard(pid)
        print(json.dumps(answer), flush=True)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
