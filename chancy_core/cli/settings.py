"""What holds for every command: which application, which database, which event loop."""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from chancy_core.errors import InvalidValue

if TYPE_CHECKING:
    from chancy_core.cli.options import Options

#: The settings, as `[tool.chancy]` has them, and the variables of each; the first is ours.
VARIABLES: Mapping[str, tuple[str, ...]] = {
    "app": ("CHANCY_APP",),
    "dsn": ("CHANCY_DSN", "DATABASE_URL"),
    "schema": ("CHANCY_SCHEMA",),
    "prefix": ("CHANCY_PREFIX",),
    "jobs": ("CHANCY_JOBS",),
    "backend": ("CHANCY_BACKEND",),
    "allow": ("CHANCY_ALLOW",),
    "disabled-plugins": ("CHANCY_DISABLED_PLUGINS",),
}


@frozen(kw_only=True)
class Settings:
    """What is in force: an option, else the environment, else pyproject.toml, else the default."""

    app: str | None = None
    dsn: str | None = field(default=None, repr=False)
    schema: str | None = None
    prefix: str | None = None
    #: The event loop, as anyio names it.
    backend: str = "asyncio"
    json: bool = False
    traceback: bool = False
    #: Whether the DSN is an option's, which an application has to bow to.
    insistent: bool = False


def settle(options: "Options") -> Settings:
    """Return the settings in force.

    They are left in the environment too: for an application that is imported after this, and for
    processes that it starts. Raises `InvalidValue` for a setting that makes no sense.
    """
    given = {
        "app": options.app,
        "dsn": options.dsn,
        "schema": options.schema,
        "prefix": options.prefix,
        "jobs": options.jobs,
        "backend": None if options.trio is None else ("asyncio", "trio")[options.trio],
    }
    found = publish(given, os.environ)
    backend = found.get("backend", "asyncio")
    if backend not in {"asyncio", "trio"}:
        raise InvalidValue(f"backend is asyncio or trio, not {backend!r}")
    return Settings(
        app=found.get("app"),
        dsn=found.get("dsn"),
        schema=found.get("schema"),
        prefix=found.get("prefix"),
        backend=backend,
        json=options.json,
        traceback=options.traceback,
        insistent=options.dsn is not None,
    )


def publish(given: Mapping[str, str | None], environ: MutableMapping[str, str]) -> dict[str, str]:
    """Write what is in force into *environ*, where *given* comes first; return it by its name."""
    fallback = _from_pyproject(Path.cwd())
    found: dict[str, str] = {}
    for key, names in VARIABLES.items():
        told = [given.get(key), *map(environ.get, names), fallback.get(key)]
        # An empty list of what is allowed allows nothing; any other empty setting is none.
        value = next((text for text in told if text or (text == "" and key == "allow")), None)
        if value is not None:
            found[key] = environ[names[0]] = value
    return found


def _from_pyproject(folder: Path) -> dict[str, str]:
    """Return the settings of the nearest pyproject.toml that has any, searched upwards."""
    for place in (folder, *folder.parents):
        path = place / "pyproject.toml"
        if path.is_file():
            table = _table(path)
            if table is not None:
                return {key: _text(path, key, value) for key, value in table.items()}
    return {}


def _table(path: Path) -> dict[str, Any] | None:
    import tomllib

    try:
        table = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("chancy")
    except (OSError, ValueError) as exc:
        raise InvalidValue(f"{path} cannot be read: {exc}") from exc
    if table is None or isinstance(table, dict):
        return table
    raise InvalidValue(f"{path}: [tool.chancy] is a table of settings, not {table!r}")


def _text(path: Path, key: str, value: Any) -> str:
    if key not in VARIABLES:
        raise InvalidValue(
            f"{path}: [tool.chancy] has no setting {key!r}; there are {', '.join(VARIABLES)}"
        )
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise InvalidValue(f"{path}: {key} in [tool.chancy] is text, not {value!r}")
    if key == "app":  # a file is meant from where the settings are
        return _beside(path, texts[0])
    return ",".join(texts)


def _beside(path: Path, app: str) -> str:
    return str(path.parent / app) if ".py" in app or "/" in app else app
