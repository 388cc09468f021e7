"""Where a worker runs: `Queue("close", tags={"zone=eu-.*"})`."""

import os
from collections.abc import Iterator


def tags() -> Iterator[str]:
    """Yield `zone=` and `rack=`, as ACME_ZONE and ACME_RACK have them on this machine."""
    for name in ("zone", "rack"):
        if place := os.environ.get(f"ACME_{name.upper()}"):
            yield f"{name}={place}"
