"""The ways to write down where the database is, brought to one."""

import re
from collections.abc import Mapping
from typing import Any

from chancy_core.errors import InvalidValue

ENGINES = ("postgres", "psycopg", "postgis", "timescale")


def conninfo(dsn: str | Mapping[str, Any]) -> str:
    """What libpq understands, made of a URL, a `key=value` string, or Django's DATABASES entry.

    Raises InvalidValue if it is none of these, or Django's ENGINE is not PostgreSQL.

        conninfo("postgresql://app@db/app")
        conninfo(settings.DATABASES["default"])
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    try:
        if isinstance(dsn, str):
            return make_conninfo(dsn)
        return make_conninfo("", **_of_django(dsn))
    except ProgrammingError as error:
        problem = _without_quotes(str(error)) if isinstance(dsn, str) else str(error)
    msg = f"this is no URL or key=value string that PostgreSQL understands: {problem.strip()}"
    raise InvalidValue(msg)


def _without_quotes(problem: str) -> str:
    """Return what libpq says is wrong with a string, which it quotes, password and all."""
    named = re.match(r"invalid (connection option|URI query parameter)", problem)
    return problem if named else re.sub(r'"(?!=").*"', '"..."', problem, flags=re.DOTALL)


def _of_django(database: Mapping[str, Any]) -> dict[str, Any]:
    engine = str(database.get("ENGINE", ""))
    if not any(name in engine for name in ENGINES):
        msg = (
            f"the ENGINE of the database must be a PostgreSQL one, such as "
            f"'django.db.backends.postgresql', not {engine!r}"
        )
        raise InvalidValue(msg)
    options = dict(database.get("OPTIONS") or {})
    # These are Django's own, or psycopg's, and no parameters of a connection.
    for name in (
        "pool",
        "isolation_level",
        "server_side_binding",
        "assume_role",
        "prepare_threshold",
        "context",
        "cursor_factory",
        "row_factory",
    ):
        options.pop(name, None)
    named = {
        "dbname": "NAME",
        "user": "USER",
        "password": "PASSWORD",
        "host": "HOST",
        "port": "PORT",
    }
    given = {key: database.get(name) for key, name in named.items()}
    return {
        **options,
        **{key: str(value) for key, value in given.items() if value not in (None, "")},
    }
