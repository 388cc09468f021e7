"""What the environment says of metrics.

CHANCY_METRICS_INTERVAL=10      # seconds between two times that a worker writes them down
CHANCY_METRICS_DAYS=400         # for how many days they are kept, at the coarsest resolution
"""

import logging
import os

from chancy_core.codec import shown

log = logging.getLogger("chancy.metrics")

INTERVAL, DAYS = "CHANCY_METRICS_INTERVAL", "CHANCY_METRICS_DAYS"


def interval() -> float:
    """Return after how many seconds a worker writes down what it has recorded."""
    return _number(INTERVAL, 1.0, 300.0, 10.0)


def days() -> float:
    """Return for how many days metrics are kept."""
    return _number(DAYS, 2.0, 10_000.0, 400.0)


def _number(name: str, least: float, most: float, default: float) -> float:
    given = os.environ.get(name)
    try:
        value = float(given) if given else default
    except ValueError:
        return default
    return value if least <= value <= most else default


def tell() -> None:
    """Say what makes no sense."""
    for name, used in ((INTERVAL, interval()), (DAYS, days())):
        given = os.environ.get(name)
        try:
            wrong = given and float(given) != used
        except ValueError:
            wrong = True
        if wrong:
            log.error("%s makes no sense: %s; it is %g", name, shown(given), used)
