"""What a supervisor is told of a worker, and where it asks."""

import re

from attrs import frozen

from chancy_core.codec import shown
from chancy_core.errors import InvalidValue

#: Where probes are answered if only a port is named: nobody else's machine can ask.
LOOPBACK = "127.0.0.1"
_ADDRESS = re.compile(r"(?:(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[\w.-]*)):)?(?P<port>\d{1,5})")


@frozen
class Health:
    """How a worker is at this moment.

    *live*: its event loop turns, and nothing it consists of has ended. If not, start another.
    *ready*: its last claim and its last renewal were confirmed, so that it takes jobs. A worker
    that stops is live and not ready; so is one whose database is away, which gets ready by itself.
    """

    live: bool
    ready: bool
    #: Why it is not ready, or not live; none if it is both.
    reasons: tuple[str, ...] = ()


def address(text: str) -> tuple[str, int]:
    """Read `8080`, `127.0.0.1:8080` or `[::1]:8080`; a port alone is the loopback's.

    Raises `InvalidValue` for anything else.
    """
    found = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found["port"]) > 65535:
        raise InvalidValue(
            f"health is a port, or an address such as 127.0.0.1:8080, not {shown(text)}"
        )
    return found["six"] or found["host"] or LOOPBACK, int(found["port"])
