"""The typed face of the hooks: nobody else calls one.

`Plugins` is what an application has of them, `WorkerPlugins` what one of its workers has. The
three hooks around a job's function are called where that runs: `chancy_core.beside`.
"""

from chancy_core.plugins.application import Plugins as Plugins
from chancy_core.plugins.loading import load as load
from chancy_core.plugins.working import WorkerPlugins as WorkerPlugins
