"""A worker of ours that runs one job on a Dask cluster, in a process of its own: to be killed.

python -m tests.dask_sender BACKEND ADDRESS ID LOG UNTIL
"""

import sys
from pathlib import Path
from uuid import UUID

import anyio

from tests import attempts
from tests.dask_attempts import sent


async def main(backend: str, address: str, id_: str, log: str, until: str) -> None:
    tried = sent("note_and_wait", id_=UUID(id_), log=log, until=until)
    async with attempts.opened("dask", backend, "tests.remote_jobs", address=address) as executor:
        await tried.run(executor)
        await anyio.sleep_forever()


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    anyio.run(main, *sys.argv[1:], backend=sys.argv[1])
