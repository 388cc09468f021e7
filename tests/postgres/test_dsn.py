import pytest
from psycopg.conninfo import conninfo_to_dict

from chancy_core.errors import InvalidValue
from chancy_core.postgres import conninfo


@pytest.mark.parametrize(
    "dsn", ["postgresql://me:p%20w@h:1/d?connect_timeout=3", "host=h dbname=d"]
)
def test_what_libpq_understands(dsn: str) -> None:
    assert conninfo_to_dict(conninfo(dsn)) == conninfo_to_dict(dsn)


def test_django() -> None:
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "app",
        "USER": "me",
        "PASSWORD": "it's a secret",
        "HOST": "",
        "PORT": 5433,
        "CONN_MAX_AGE": 3,
        "OPTIONS": {"sslmode": "require", "pool": True},
    }
    assert conninfo_to_dict(conninfo(database)) == {
        "dbname": "app", "user": "me", "password": "it's a secret", "port": "5433",
        "sslmode": "require",
    }  # fmt: skip


def test_refused() -> None:
    with pytest.raises(InvalidValue, match="sqlite3"):
        conninfo({"ENGINE": "django.db.backends.sqlite3", "NAME": "x"})
    with pytest.raises(InvalidValue):
        conninfo("no such thing")
