"""SQL as values: what names it uses, what parameters, and how its rows are read.

A statement is a file of `chancy_core/sql`, its tables written as `{jobs}`; `Names` says which
schema and prefix they have here. Whoever has a connection can run one: our own pool, a
synchronous connection, or a transaction of the caller's.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from attrs import field, frozen

from chancy_core.codec import shown
from chancy_core.errors import InvalidValue
from chancy_core.job import Job

T = TypeVar("T")
Row = Sequence[Any]

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,29}")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\w+)\}")


def identifier(_: Any, attribute: Any, value: str) -> None:
    """Refuse a part of a name that would need quoting, or make names too long for PostgreSQL."""
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise InvalidValue(
            f"{attribute.name} must be 1 to 30 lower-case letters, digits and underscores, "
            f"beginning with no digit, unlike {shown(value)}"
        )


@frozen
class Names:
    """Where our tables are: a schema, and a prefix of all names in it.

    Two installations with different names share a database without meeting.
    """

    schema: str = field(default="public", validator=identifier)
    prefix: str = field(default="chancy_", validator=identifier)

    def render(self, text: str) -> str:
        """Write *text* with `{jobs}` as the quoted, qualified name of the table, and so on.

        `{schema}` is the schema alone, `{{` and `}}` are braces. Both parts were validated when
        this value was made, so that quoting them is all that is left to do.
        """

        def name(match: "re.Match[str]") -> str:
            word = match[1]
            if word is None:
                return match[0][0]
            return (
                f'"{self.schema}"' if word == "schema" else f'"{self.schema}"."{self.prefix}{word}"'
            )

        return _PLACEHOLDER.sub(name, text)

    @property
    def channel(self) -> str:
        """The channel on which workers of this installation are woken."""
        return f"{self.schema}.{self.prefix}"  # PostgreSQL takes 63 bytes: this has 61 at most

    @property
    def answers(self) -> str:
        """The channel on which those who wait for jobs are told that these have ended."""
        return f"{self.channel}!"


def mentioned(text: str) -> set[str]:
    """Return the names that *text* has in braces, such as `jobs`."""
    return {match[1] for match in _PLACEHOLDER.finditer(text) if match[1]} - {"schema"}


@cache
def load(name: str) -> str:
    """Return the text of `chancy_core/sql/<name>.sql`."""
    from importlib.resources import files

    return files("chancy_core.sql").joinpath(f"{name}.sql").read_text("utf-8")


@cache
def _rendered(name: str, names: Names) -> bytes:
    return names.render(load(name)).encode()


@frozen
class Statement(Generic[T]):
    """One SQL statement, ready to be run on any connection; *read* makes its rows an answer."""

    text: bytes
    params: Mapping[str, Any] = field(repr=False)
    read: Callable[[Sequence[Row]], T]

    @classmethod
    def written(
        cls,
        text: str,
        names: Names,
        params: Mapping[str, Any],
        read: Callable[[Sequence[Row]], T],
    ) -> "Statement[T]":
        """Make a statement of a plugin's own; *text* names its tables as `{acme_mail}`.

        Parameters are written `%(name)s`. In *text*, `{jobs_v1}` is the view of all jobs.
        """
        return cls(names.render(text).encode(), params, read)

    @classmethod
    def of(
        cls, name: str, names: Names, params: Mapping[str, Any], read: Callable[[Sequence[Row]], T]
    ) -> "Statement[T]":
        """Make the statement of the file *name* for an installation."""
        return cls(_rendered(name, names), params, read)


@frozen
class Copy(Statement[T]):
    """A `COPY ... FROM STDIN`: a statement with the rows that follow it, in pieces of any size.

    They may be made as they are sent, each time anew: an error in that leaves nothing stored. It
    cannot be run inside of a pipeline.
    """

    pieces: Iterable[str] = field(repr=False)

    @classmethod
    def of_rows(
        cls, name: str, names: Names, pieces: Iterable[str], read: Callable[[Sequence[Row]], T]
    ) -> "Copy[T]":
        """Make the statement of the file *name* for an installation."""
        return cls(_rendered(name, names), {}, read, pieces)


@frozen
class Push(Statement[AbstractSet[UUID]]):
    """Stores jobs, in whatever transaction it is run in; `Application.pushing` makes it.

    It answers the ids of those that were stored: all but those whose unique key a live job holds.
    """

    #: The jobs by their ids, in the order in which they were given. The ids are known before it is
    #: run, so that statements beside it may name them.
    jobs: Mapping[UUID, Job] = field(repr=False)


def nothing(_: Sequence[Row]) -> None:
    """Read no rows: for statements whose doing is all that they have to say."""
