"""What installed packages offer by entry points: listed without importing, loaded when needed."""

from functools import cache
from typing import TYPE_CHECKING, Any

from chancy_core.errors import BrokenOffer, NameTaken, UnknownName

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def who(entry: "EntryPoint") -> str:
    """Return the name and version of the distribution that makes an offer."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed distribution"


@cache
def offers(group: str) -> "dict[str, tuple[EntryPoint, ...]]":
    """Return what is offered in *group*, by name, without importing any of it.

    A name has several entries where distributions disagree about it.
    """
    from importlib.metadata import entry_points  # a fifth of what `import chancy` would take

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: (entry.name, who(entry))):
        others = found.get(entry.name, ())
        if entry.value not in {other.value for other in others}:
            found[entry.name] = (*others, entry)
    return found


def find(group: str, name: str) -> "EntryPoint":
    """Return what is offered in *group* as *name*, without importing it.

    Raises `UnknownName` if nobody offers it, `NameTaken` if two distributions do; that spoils
    this name, and no other.
    """
    entries = offers(group).get(name, ())
    if not entries:
        known = ", ".join(offers(group)) or "nothing"
        raise UnknownName(f"{group}: nobody offers {name!r}; installed packages offer {known}")
    if len(entries) > 1:
        both = " and ".join(f"{who(entry)} ({entry.value})" for entry in entries)
        raise NameTaken(f"{group}: {both} offer {name!r}; uninstall all but one of them")
    return entries[0]


def load(group: str, name: str) -> Any:
    """Import and return what is offered in *group* as *name*.

    Raises what `find` raises, and `BrokenOffer` if importing it fails.
    """
    entry = find(group, name)
    try:
        return entry.load()
    except (Exception, SystemExit) as exc:
        raise BrokenOffer(
            f"{group}: {who(entry)} offers {name!r} as {entry.value!r}, but loading it raised "
            f"{type(exc).__name__}: {exc}"
        ) from exc
