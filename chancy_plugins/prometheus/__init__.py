"""Shows Prometheus what a process has counted, and how its installation is.

    CHANCY_PROMETHEUS=127.0.0.1:9464 chancy worker

`Prometheus(port=9464)` is the same for programs, and `collector` is for those that have an endpoint
already. The rooms: `families` (names, labels and bounds, as Prometheus wants them), `collecting`
(what is shown), `endpoint` (where), `plugin` and `hooks` (for as long as a worker lives).
"""

from chancy_plugins.prometheus.collecting import Collector as Collector
from chancy_plugins.prometheus.collecting import collector as collector
from chancy_plugins.prometheus.plugin import Prometheus as Prometheus
