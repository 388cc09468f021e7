"""What threatens the promise of an installation: looked for in its database, and told.

Each room looks at one thing: `tables` at our own, `server` at PostgreSQL, `fleet` at the workers
and at what waits for them. None of them changes anything.
"""

from chancy_core.diagnosis.diagnose import diagnose as diagnose
from chancy_core.diagnosis.finding import Finding as Finding
