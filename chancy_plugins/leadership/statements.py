"""What is asked of the table of leaders. All times in it are by the database's clock."""

from uuid import UUID

from chancy_core.statement import Names, Statement
from chancy_plugins.leadership.term import Leader, Term

#: Who does not lead only reads, as long as somebody does: no row is locked, and nothing written.
_CAMPAIGN = """\
-- Begin to lead, if nobody does, or no longer; answers the number of the term.
INSERT INTO {leaders} AS l (name, term, holder, holder_name, since, expires_at)
SELECT %(name)s::text, 1, %(holder)s::uuid, %(worker)s::text, {now}(),
       {now}() + make_interval(secs => %(ttl)s::float8)
 WHERE NOT EXISTS (SELECT FROM {leaders}
                    WHERE name = %(name)s AND holder <> %(holder)s AND expires_at > {now}())
ON CONFLICT (name) DO UPDATE
   SET term = l.term + 1, holder = excluded.holder, holder_name = excluded.holder_name,
       since = excluded.since, expires_at = excluded.expires_at
 WHERE l.holder IS NULL OR l.holder = excluded.holder OR l.expires_at <= {now}()
RETURNING term
"""

_RENEW = """\
-- Go on leading for a while, unless somebody else has begun to.
UPDATE {leaders} SET expires_at = {now}() + make_interval(secs => %(ttl)s::float8)
 WHERE name = %(name)s AND holder = %(holder)s AND term = %(term)s
RETURNING term
"""

_RELEASE = """\
-- Lead no longer, so that somebody else can begin at once.
UPDATE {leaders} SET holder = NULL WHERE name = %(name)s AND holder = %(holder)s
RETURNING term
"""

_LEADERS = """\
-- List who leads what.
SELECT name, holder_name, term, since, extract(epoch FROM expires_at - {now}())::float8
  FROM {leaders}
 WHERE holder IS NOT NULL AND expires_at > {now}()
 ORDER BY name
"""


def campaign(names: Names, name: str, holder: UUID, worker: str, ttl: float) -> Statement[int]:
    """Begin a term, if none is current but one of this holder's; answers its number, or 0."""
    params = {"name": name, "holder": holder, "worker": worker, "ttl": ttl}
    return Statement.written(_CAMPAIGN, names, params, lambda rows: rows[0][0] if rows else 0)


def renew(names: Names, term: Term, ttl: float) -> Statement[bool]:
    """Have a term last for *ttl* seconds from now; answers False if it is over."""
    params = {"name": term.name, "holder": term.holder, "term": term.number, "ttl": ttl}
    return Statement.written(_RENEW, names, params, bool)


def release(names: Names, name: str, holder: UUID) -> Statement[bool]:
    """End whatever term this holder has; answers False if it has none."""
    return Statement.written(_RELEASE, names, {"name": name, "holder": holder}, bool)


def leaders(names: Names) -> Statement[list[Leader]]:
    """Answer who leads what, by name."""
    return Statement.written(_LEADERS, names, {}, Leader.read)
