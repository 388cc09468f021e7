"""Functions come from the registry alone, and no value from the database is ever unpickled.

A worker and its children are attacked in processes of their own; an audit hook in each of them
writes down whatever they import, execute, start or unpickle meanwhile.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.sizes import figure, size
from tests.security.hostile_names import LISTED, REGISTERED, names

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("chancy_core", "chancy_plugins", "executors/chancy_executors")

SEEN = """
import os, sys

WATCHED = {
    "import", "exec", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn",
    "os.spawn", "os.fork", "os.forkpty", "pickle.find_class", "marshal.loads", "marshal.load",
    "ctypes.dlopen", "ctypes.dlsym", "shelve.open", "socket.connect",
}

def seen(event, args):
    if event in WATCHED and os.path.exists(os.environ["ARMED"]):
        with open(os.environ["SEEN"], "a") as file:
            print(os.getpid(), event, ascii(args)[:200], file=file)

sys.addaudithook(seen)
"""

TARGET = """
import os
from chancy import job

@job
def double(value: object) -> object:
    return value * 2

@job
async def double_async(value: object) -> object:
    return value * 2

class Odd(Exception):
    def __reduce__(self):
        return os.system, ("touch unpickled",)

@job
def fail(text: str) -> None:
    raise Odd(text)

@job
async def fail_async(text: str) -> None:
    raise Odd(text)

@job
def pid() -> int:
    return os.getpid()

@job
async def pid_async() -> int:
    return os.getpid()

@job
def control() -> None:
    import pickle
    import canary
    pickle.loads(pickle.dumps(os.getpid))
    os.system("true")

def secret(**given: object) -> None:
    os.system("touch ran")

_hidden = imported = secret

class Thing:
    def method(self, **given: object) -> None:
        os.system("touch ran")
"""

CANARY = """
import os

def sing(**given: object) -> None:
    os.system("touch ran")
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    "count",
    [
        100,
        pytest.param(size(1000, 10_000), marks=[pytest.mark.faults, pytest.mark.timeout(1800)]),
    ],
)
def test_no_hostile_name_and_no_pickle_runs_anything(
    dsn: str, tmp_path: Path, backend: str, count: int
):
    for name, text in {"sitecustomize": SEEN, "target": TARGET, "canary": CANARY}.items():
        (tmp_path / f"{name}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "tests/security/attack.py", backend, str(count)],
        env=os.environ
        | {
            "CHANCY_DSN": dsn,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
            "SEEN": str(tmp_path / "seen"),
            "ARMED": str(tmp_path / "armed"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["seen"] == []
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "unpickled").exists()
    assert told["names"] == count
    assert told["kinds"] == [[False, 0, "unknown-function"]]
    assert told["refused"] == 5 * count
    assert (told["pickles"], told["same"], told["live"]) == (3 * 24, True, [])
    assert told["kept"] == [["failed", "target.Odd"]]
    figure(f"hostile names of functions, {backend}", count)
    # The hook sees what it is for, in the worker and in its child.
    assert len(told["pids"]) == 2
    for pid in told["pids"]:
        mine = [line.split()[1] for line in told["control"] if line.startswith(f"{pid} ")]
        assert {"import", "exec", "os.system", "pickle.find_class"} <= set(mine), told["control"]


def test_the_names_are_as_many_as_they_should_be():
    found = list(names(1000))
    assert len(set(found)) == 1000
    assert {*LISTED} <= {*found}
    assert REGISTERED not in found


#: What turns bytes into objects, or into code, and is imported nowhere.
UNPICKLERS = {
    "pickle", "_pickle", "cPickle", "pickletools", "marshal", "shelve", "dbm", "copyreg", "dill",
    "cloudpickle", "joblib", "jsonpickle", "yaml", "multiprocessing",
    "xmlrpc", "concurrent.futures.ProcessPoolExecutor", "code", "codeop", "runpy", "imp",
}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__"}
#: Where something of the kind is needed, and why.
REASONED = {
    ("chancy_core/registry.py", "import_module"): "job modules, as the application names them",
    ("chancy_core/beside.py", "import_module"): "plugins, as the worker tells its child",
    ("chancy_core/facade/chancy/__init__.py", "import_module"): "names of ours, when first used",
    ("chancy_core/postgres/__init__.py", "import_module"): "the same",
    ("chancy_core/testing/__init__.py", "import_module"): "the same",
    ("executors/chancy_executors/child.py", "import_module"): "Django, if the environment has it",
    ("executors/chancy_executors/inside.py", "import_module"): "the same",
    ("executors/chancy_executors/remote.py", "import_module"): "the same",
    ("executors/chancy_executors/subinterpreter.py", "import_module"): "Python's own, by version",
    ("executors/chancy_executors/connection.py", "import_module"): "Dask, which may be missing",
    ("executors/chancy_executors/local.py", "import_module"): "the same",
}


def found(source: str) -> set[str]:
    """Return which of these a module imports or calls."""
    seen: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=aliases):
                seen |= {alias.name for alias in aliases}
            case ast.ImportFrom(module=str(module)):
                seen |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
                seen |= {"import_module"} & {alias.name for alias in node.names}
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                seen.add(name)
            case ast.Call(func=ast.Attribute(attr="import_module")):
                seen.add("import_module")
    bad = UNPICKLERS | CALLS | {"import_module"}
    return {name for name in seen if name in bad or name.partition(".")[0] in bad}


def test_nothing_that_unpickles_is_imported():
    used = {
        (str(path.relative_to(ROOT)), name)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for name in found(path.read_text("utf-8"))
    }
    assert used == REASONED.keys()


def test_what_unpickles_would_be_found():
    for text in ("import pickle", "from multiprocessing import connection", "import dill as json"):
        assert found(text) != set()
    assert found("eval('1')") == {"eval"}
    assert found("from importlib import import_module as get") == {"import_module"}
    assert found("from concurrent.futures import ProcessPoolExecutor") != set()
    assert found("import json, os\nfrom pathlib import Path\nre.compile('')") == set()
