"""`chancy plugins`: what installed packages offer, and what of it comes in."""

from typing import Annotated

from cyclopts import Parameter

from chancy_core import discovery
from chancy_core.cli import failing
from chancy_core.cli.invocation import Here
from chancy_core.discovery import Offer, Standing
from chancy_core.errors import OfferError

_COLUMNS = ("group", "name", "distribution", "standing")


def plugins(*, load: Annotated[bool, Parameter(negative=())] = False, here: Here) -> int:
    """List what installed packages offer, whose it is, and whether it is let in.

    Parameters
    ----------
    load
        Import each that is let in, too; 1 is the exit code if one of them is broken.
    """
    offers = discovery.survey()
    problems = [problem(offer) if load else None for offer in offers]
    rows = [
        {
            "group": offer.group,
            "name": offer.name,
            "distribution": offer.distribution,
            "standing": offer.standing.value,
            "value": offer.value,
            **({"problem": wrong} if load else {}),
        }
        for offer, wrong in zip(offers, problems, strict=True)
    ]
    here.output.items(rows, (*_COLUMNS, "problem") if load else _COLUMNS)
    return failing.FAILED if any(problems) else failing.DONE


def problem(offer: Offer) -> str | None:
    """Return what is wrong with an offer that is let in, having imported it; None if nothing is."""
    if offer.standing not in {Standing.IN, Standing.TAKEN}:
        return None
    try:
        discovery.load(offer.group, offer.name)
    except OfferError as exc:
        return str(exc)
    return None
