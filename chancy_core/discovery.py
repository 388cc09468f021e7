"""What installed packages offer by entry points: listed without importing, loaded when needed."""

from functools import cache
from typing import TYPE_CHECKING, Any

from chancy_core.errors import BrokenOffer, NameTaken, UnknownName

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def _who(entry: "EntryPoint") -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed distribution"


@cache
def offers(group: str) -> "dict[str, EntryPoint]":
    """Return what is offered in *group*, by name, without importing any of it.

    Raises `NameTaken` when two distributions offer the same name.
    """
    from importlib.metadata import entry_points  # a fifth of what `import chancy` would take

    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise NameTaken(
                f"{group}: {_who(other)} and {_who(entry)} both offer {entry.name!r} "
                f"({other.value}, {entry.value}); uninstall one of them"
            )
    return found


def load(group: str, name: str) -> Any:
    """Import and return what is offered in *group* as *name*.

    Raises `UnknownName` if nobody offers it, `BrokenOffer` if importing it fails.
    """
    entry = offers(group).get(name)
    if entry is None:
        known = ", ".join(offers(group)) or "nothing"
        raise UnknownName(f"{group}: nobody offers {name!r}; installed packages offer {known}")
    try:
        return entry.load()
    except (Exception, SystemExit) as exc:
        raise BrokenOffer(
            f"{group}: {_who(entry)} offers {name!r} as {entry.value!r}, but loading it raised "
            f"{type(exc).__name__}: {exc}"
        ) from exc
