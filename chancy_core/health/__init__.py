"""How a worker is, for whoever supervises it: alive, and ready for jobs.

`vitals` knows it, `http` answers probes over TCP, and `file` writes it down.
"""

from chancy_core.health.health import Health as Health
from chancy_core.health.health import address as address
