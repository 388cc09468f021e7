"""What a look at something has found."""

from attrs import frozen


@frozen
class Finding:
    """One thing that was looked at: *ok*, or not, or None for what you should know."""

    what: str
    ok: bool | None
    says: str
    #: What would be right, or makes it so.
    remedy: str | None = None
