"""What a role may do to a thing of ours, and how a migration says so.

-- chancy: grant work SELECT, UPDATE (next_at, paused) ON {crons}
"""

import re
from collections.abc import Iterator
from typing import Self

from attrs import field, frozen

#: The roles that are granted something: those who push, who work, and who look.
GRANTED = ("push", "work", "look")

_COLUMNS = r"[a-z_][a-z0-9_]*(?:\s*,\s*[a-z_][a-z0-9_]*)*"
_PRIVILEGE = rf"(?P<privilege>[A-Z]+)(?:\s*\((?P<columns>{_COLUMNS})\))?"
_GRANT = re.compile(
    rf"grant (?P<role>{'|'.join(GRANTED)}) "
    rf"(?P<privileges>[A-Z]+(?:\s*\({_COLUMNS}\))?(?:,\s*[A-Z]+(?:\s*\({_COLUMNS}\))?)*) "
    r"ON \{(?P<on>\w+)\}(?P<arguments>\([^()]*\))?"
)
_PRIVILEGES = frozenset(("SELECT", "INSERT", "UPDATE", "DELETE", "USAGE", "EXECUTE"))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


@frozen
class Right:
    """What one role may do to one thing of ours; no columns means all of it."""

    role: str
    privilege: str
    on: str
    columns: tuple[str, ...] = field(converter=_words)

    @classmethod
    def read(cls, directive: str) -> Iterator[Self]:
        """Yield what a directive grants: none if it makes no sense."""
        match = _GRANT.fullmatch(directive)
        if match is None:
            return
        found = list(re.finditer(_PRIVILEGE, match["privileges"]))
        if not _PRIVILEGES.issuperset(one["privilege"] for one in found):
            return
        for one in found:
            on = match["on"] + (match["arguments"] or "")
            yield cls(match["role"], one["privilege"], on, one["columns"] or "")
