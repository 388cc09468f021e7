"""Values: a term of leadership, with its fence, and who leads."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from attrs import field, frozen

from chancy_core.errors import ChancyError
from chancy_core.statement import Names, Row, Statement

#: For how long a fenced transaction may stand still between two statements. A leader whose process
#: is stopped in the middle of one would keep the next from leading for as long as it is.
STANDSTILL = "5s"

_FENCE = """\
-- See that a term of leadership is current, and have the next one wait for this transaction, which
-- the server ends if it stands still.
SELECT term, set_config('idle_in_transaction_session_timeout', %(standstill)s, true)
  FROM {leaders}
 WHERE name = %(name)s AND holder = %(holder)s AND term = %(term)s
   FOR KEY SHARE
"""


class TermOver(ChancyError):
    """The term of leadership is over: somebody else leads by now, or it was released."""


@frozen
class Term:
    """One time of leading: each who begins to lead has a higher *number* than all before."""

    #: The leadership.
    name: str
    number: int
    #: Who leads: an id of one campaign, of which nobody else knows.
    holder: UUID
    #: Says that the duty goes on, and what keeps it from its work, if something does: as `beat` of
    #: a service.
    beat: Callable[..., None] = field(default=lambda trouble=None: None, eq=False, repr=False)  # noqa: ARG005

    def fence(self, names: Names) -> Statement[None]:
        """Return the statement that goes first in a transaction which only the leader may commit.

            await database.run(term.fence(database.names), write)

        Where it is read it raises `TermOver` if the term is not current, which undoes all that is
        run beside it. Until that transaction ends nobody else begins to lead, so keep it short: the
        server ends it, with its connection, if nothing is asked in it for five seconds.
        """

        def read(rows: Sequence[Row]) -> None:
            if not rows:
                raise TermOver(
                    f"term {self.number} of the leadership {self.name!r} is over: "
                    "what was to be written in it is not"
                )

        params = {
            "name": self.name,
            "holder": self.holder,
            "term": self.number,
            "standstill": STANDSTILL,
        }
        return Statement.written(_FENCE, names, params, read)


@frozen(kw_only=True)
class Leader:
    """Who leads what."""

    #: The leadership.
    name: str
    #: The name of the worker.
    worker: str
    #: The number of its term.
    term: int
    since: datetime
    #: Seconds until its lease is over, unless it is renewed.
    expires_in: float

    @classmethod
    def read(cls, rows: Sequence[Row]) -> "list[Leader]":
        """Read rows."""
        return [
            cls(name=name, worker=worker, term=term, since=since.astimezone(UTC), expires_in=left)
            for name, worker, term, since, left in rows
        ]
