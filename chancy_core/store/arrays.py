"""Lists to the text of PostgreSQL's arrays: a tenth of what psycopg's adaptation of lists takes.

For the statements that a worker sends all the time. The text goes where the statement says what
it is, as in `%(ids)s::uuid[]`.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID


def uuids(values: Iterable[UUID]) -> str:
    """Write an array of UUIDs."""
    return f"{{{','.join([value.hex for value in values])}}}"


def numbers(values: Iterable[float]) -> str:
    """Write an array of numbers that are finite."""
    return f"{{{','.join(map(repr, values))}}}"


def texts(values: Sequence[str | None]) -> str | None:
    """Write an array of texts; None where all of them are, as `unnest` makes no difference.

    Nothing in it may be NUL, as in any text of PostgreSQL's: the server refuses it.
    """
    if not any(value is not None for value in values):
        return None
    return f"{{{','.join([_text(value) for value in values])}}}"


def _text(value: str | None) -> str:
    if value is None:
        return "NULL"
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'
