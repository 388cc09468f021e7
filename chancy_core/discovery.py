"""What installed packages offer by entry points: listed without importing, loaded when needed.

Not everything that is installed is let in. Two variables of the environment decide, for every group
whose name begins with `chancy.`:

* `CHANCY_ALLOW`, distributions with commas between them: only these come in, and `chancy` itself.
  Empty, it lets in nobody else; where it is not set, everybody comes in.
* `CHANCY_DISABLED_PLUGINS`, with commas between them: names (`retry`), names in a group
  (`chancy.tags:gpu`) and distributions that stay out, whatever else is said; ours too.

What is kept out is as if it were not installed: it is never imported, and takes nobody's name.
"""

import logging
import os
import re
from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

import attrs

from chancy_core.errors import BrokenOffer, NameTaken, UnknownName

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

log = logging.getLogger("chancy.discovery")

#: The entry-point groups that are asked for.
GROUPS = (
    "chancy.executors",
    "chancy.tags",
    "chancy.migrations",
    "chancy.commands",
    "chancy.plugins",
)
#: The variables of the environment that say what is let in.
ALLOW = "CHANCY_ALLOW"
DISABLED = "CHANCY_DISABLED_PLUGINS"
#: The distribution that is always allowed.
OURS = "chancy"
#: Who offers what comes from nowhere that has a name.
UNNAMED = "an unnamed distribution"


class Standing(StrEnum):
    """Whether an offer is let in, and if not, why."""

    IN = "in"
    NOT_ALLOWED = "not allowed"
    DISABLED = "disabled"
    #: Let in, but two distributions offer this name: neither is used.
    TAKEN = "taken"


@attrs.frozen
class Offer:
    """One entry point of an installed distribution."""

    group: str
    name: str
    #: Where it is: `package.module:thing`.
    value: str
    #: Who offers it: a name and a version.
    distribution: str
    standing: Standing
    entry: "EntryPoint" = attrs.field(repr=False, eq=False)


def version() -> str:
    """Return the version of Chancy itself, as it is installed."""
    from importlib.metadata import version

    return version(OURS)


def distribution(entry: "EntryPoint") -> str:
    """Return who offers *entry*, as `acme 1.0`."""
    if entry.dist is None:
        return UNNAMED
    name, version = _told(entry.dist)
    return f"{name} {version}" if name else UNNAMED


def _name(entry: "EntryPoint") -> str:
    return "" if entry.dist is None else _told(entry.dist)[0]


@cache
def _told(dist: "Distribution") -> tuple[str, str]:
    """Return the name and the version of a distribution; reading them takes a millisecond."""
    metadata = dist.metadata
    return ("", "") if "Name" not in metadata else (metadata["Name"], dist.version)


def _normal(name: str) -> str:
    """Return a distribution's name as all spellings of it have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def survey() -> tuple[Offer, ...]:
    """Return all that is offered and where it stands, by group and name; nothing is imported.

    What is installed is looked up once, and again when one of the two settings has changed.
    """
    return _surveyed(os.environ.get(ALLOW), os.environ.get(DISABLED, ""))


def forget() -> None:
    """Look anew at what is installed, when next asked."""
    _surveyed.cache_clear()
    _told.cache_clear()


@cache
def _surveyed(allow: str | None, disabled: str) -> tuple[Offer, ...]:
    from importlib.metadata import entry_points  # a fifth of what `import chancy` would take

    installed = entry_points()  # which no two versions of Python iterate over in one way
    groups = [group for group in installed.groups if group.startswith("chancy.")]
    entries = [entry for group in groups for entry in installed.select(group=group)]
    allowed = None if allow is None else {_normal(item) for item in _items(allow)}
    refused = set(_items(disabled))
    _warn(entries, allowed or set(), refused)
    found = [_offer(entry, _standing(entry, allowed, refused)) for entry in entries]
    values: dict[tuple[str, str], set[str]] = {}
    for offer in found:
        if offer.standing is Standing.IN:
            values.setdefault((offer.group, offer.name), set()).add(offer.value)
    taken = {key for key, different in values.items() if len(different) > 1}
    return tuple(
        attrs.evolve(offer, standing=Standing.TAKEN)
        if offer.standing is Standing.IN and (offer.group, offer.name) in taken
        else offer
        for offer in sorted(found, key=lambda offer: (offer.group, offer.name, offer.distribution))
    )


def _offer(entry: "EntryPoint", standing: Standing) -> Offer:
    who = distribution(entry)
    return Offer(entry.group, entry.name, entry.value, who, standing, entry)


def _standing(entry: "EntryPoint", allowed: set[str] | None, disabled: set[str]) -> Standing:
    who = _normal(_name(entry))
    named = not disabled.isdisjoint({entry.name, f"{entry.group}:{entry.name}"})
    if named or who in map(_normal, disabled):
        return Standing.DISABLED
    if allowed is not None and who not in {OURS, *allowed}:
        return Standing.NOT_ALLOWED
    return Standing.IN


def _warn(entries: Iterable["EntryPoint"], allowed: set[str], disabled: set[str]) -> None:
    """Tell of what a setting names and nobody offers: it may be misspelt."""
    who = {_normal(_name(entry)) for entry in entries} | {OURS}
    what = {name for entry in entries for name in (entry.name, f"{entry.group}:{entry.name}")}
    for item in sorted(allowed - who):
        log.warning("%s names %r, but no such distribution offers anything here", ALLOW, item)
    for item in sorted(disabled - what):
        if _normal(item) not in who:
            log.warning("%s names %r, but nobody offers that here", DISABLED, item)


def offers(group: str) -> "dict[str, tuple[EntryPoint, ...]]":
    """Return what is let in of *group*, by name, without importing any of it.

    A name has several entries where distributions disagree about it.
    """
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for offer in survey():
        if offer.group == group and offer.standing in {Standing.IN, Standing.TAKEN}:
            others = found.get(offer.name, ())
            if offer.value not in {other.value for other in others}:
                found[offer.name] = (*others, offer.entry)
    return found


def find(group: str, name: str) -> "EntryPoint":
    """Return what is offered in *group* as *name*, without importing it.

    Raises `UnknownName` if nobody who is let in offers it, `NameTaken` if two distributions do;
    that spoils this name, and no other.
    """
    entries = offers(group).get(name, ())
    if not entries:
        known = ", ".join(offers(group)) or "nothing"
        raise UnknownName(
            f"{group}: {_kept_out(group, name)}nobody offers {name!r}; "
            f"installed packages offer {known}"
        )
    if len(entries) > 1:
        both = " and ".join(f"{distribution(entry)} ({entry.value})" for entry in entries)
        raise NameTaken(
            f"{group}: {both} offer {name!r}; uninstall all but one of them, or keep all but one "
            f"out by {DISABLED}"
        )
    return entries[0]


def _kept_out(group: str, name: str) -> str:
    """Return what is to be set, if *name* would be offered but for the settings."""
    for offer in survey():
        if (offer.group, offer.name) == (group, name):
            if offer.standing is Standing.DISABLED:
                return f"{offer.distribution} offers {name!r}, but {DISABLED} disables it; else "
            return (
                f"{offer.distribution} offers {name!r}, but is not allowed: add "
                f"{_name(offer.entry)!r} to {ALLOW}; else "
            )
    return ""


def load(group: str, name: str) -> Any:
    """Import and return what is offered in *group* as *name*.

    Raises what `find` raises, and `BrokenOffer` if importing it fails.
    """
    entry = find(group, name)
    try:
        return entry.load()
    except (Exception, SystemExit) as exc:
        raise BrokenOffer(
            f"{group}: {distribution(entry)} offers {name!r} as {entry.value!r}, but loading it "
            f"raised {type(exc).__name__}: {exc}"
        ) from exc
