"""The application that a command is for: the user's, by its name, or a plain one."""

import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType

from chancy_core import registry
from chancy_core.app import Chancy
from chancy_core.cli.settings import Settings
from chancy_core.errors import ChancyError, InvalidValue
from chancy_core.statement import Names

_FILE = re.compile(r"(?P<file>.+\.py)(?::(?P<name>[^:/]+))?")


def find_app(settings: Settings) -> Chancy:
    """Return the application that the settings name; without one, a plain `Chancy`.

    Raises `InvalidValue` if there is none of that name, or if there are several to choose from.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    if settings.app is None:
        names = Names()
        return Chancy(
            settings.dsn,
            schema=settings.schema or names.schema,
            prefix=settings.prefix or names.prefix,
        )
    for key in ("schema", "prefix"):
        if getattr(settings, key) is not None:
            raise InvalidValue(f"{key} is what the application {settings.app} says itself")
    app = _attribute(settings.app)
    if settings.insistent:
        app.dsn = settings.dsn
    return app


def _attribute(app: str) -> Chancy:
    if matched := _FILE.fullmatch(app):
        module, name = _load_file(Path(matched["file"])), matched["name"]
    else:
        module_name, _, name = app.partition(":")
        module = _load_module(module_name)
    if not name:
        return _only(module)
    found = getattr(module, name, None)
    if isinstance(found, Chancy):
        return found
    there = ", ".join(_apps(module)) or "none"
    what = "nothing" if found is None else f"a {type(found).__name__}, no Chancy"
    raise InvalidValue(f"{module.__name__}:{name} is {what}; Chancys in it: {there}")


def _apps(module: ModuleType) -> dict[str, Chancy]:
    return {name: it for name, it in vars(module).items() if isinstance(it, Chancy)}


def _only(module: ModuleType) -> Chancy:
    apps = _apps(module)
    if len({id(app) for app in apps.values()}) == 1:
        return next(iter(apps.values()))
    if not apps:
        raise InvalidValue(
            f"{_place(module)} has no Chancy at its top, such as `chancy = Chancy()`"
        )
    choices = ", ".join(f"{module.__name__}:{name}" for name in apps)
    raise InvalidValue(f"{_place(module)} has several: say which, of {choices}")


def _place(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or module.__name__)


def _load_file(path: Path) -> ModuleType:
    """Load a script under its own stem, as it would register its jobs if Python ran it."""
    path = path.absolute()
    if not path.is_file():
        raise InvalidValue(f"there is no file {path}")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    other = sys.modules.get(path.stem)
    if other is not None and getattr(other, "__file__", None) != str(path):
        raise InvalidValue(
            f"{path} is called like the module {path.stem!r}, which is loaded already: "
            "give the file another name"
        )
    _load(path.stem, str(path))
    return sys.modules[path.stem]


def _load_module(name: str) -> ModuleType:
    try:
        there = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # the package that it would be in is missing
        there = False
    if not there:
        raise InvalidValue(
            f"there is no module {name!r} in {os.getcwd()} or where Python looks; "  # noqa: PTH109
            f"an application is a file, a module, or module:name"
        )
    _load(name, None)
    return sys.modules[name]


def _load(name: str, path: str | None) -> None:
    try:
        registry.load_sources([(name, path)])
    except ChancyError:
        raise
    except (Exception, SystemExit) as exc:
        raise InvalidValue(f"{path or name} cannot be imported: {_said(exc)}") from exc


def _said(exc: BaseException) -> str:
    """Return what an exception says, and where in the user's code it was raised."""
    at, trace = "", exc.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith("<"):
            at = f" ({code.co_filename}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(exc).__name__}: {exc}{at if not isinstance(exc, SyntaxError) else ''}"
