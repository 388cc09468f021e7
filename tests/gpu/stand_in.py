"""A machine that seems to have a GPU: a library is named as libcuda, a program as nvidia-smi.

So all that surrounds a kernel can be tried where there is no GPU: what the driver is asked, how a
worker finds its tag, and how the GPU is hidden from it.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.gpu import cuda

SOURCE = Path(__file__).with_name("stand_in.c")
LISTS = """\
#!/bin/sh
echo 'GPU 0: Stand-in (UUID: GPU-00000000-0000-4000-8000-000000000000)'
"""


def built(folder: Path) -> Path:
    """Compile the library; skips the test that asks for it where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here: there is no program cc")
    library = folder / cuda.LIBRARY
    command = [compiler, "-std=gnu11", "-shared", "-fPIC", "-O1", "-Wall", "-o", library, SOURCE]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return library


def environment(folder: Path) -> dict[str, str]:
    """Return what the environment of a process has on such a machine."""
    built(folder)
    lists = folder / "nvidia-smi"
    lists.write_text(LISTS)
    lists.chmod(0o755)
    return {
        name: os.pathsep.join([str(folder), *filter(None, [os.environ.get(name)])])
        for name in ("PATH", "LD_LIBRARY_PATH")
    }
