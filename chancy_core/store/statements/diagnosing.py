"""What is asked of a database to find out what threatens the promise; nothing here changes it."""

from chancy_core.statement import Names, Statement
from chancy_core.store import standing


def indexes(names: Names) -> Statement[list[standing.Built]]:
    """Answer the indexes of all our tables, and of those that plugins have beside them."""
    params = {"schema": names.schema, "prefix": names.prefix}
    return Statement.of("indexes", names, params, standing.indexes)


def pins(names: Names, seconds: float) -> Statement[list[standing.Pin]]:
    """Answer what has kept dead rows from being removed for so many *seconds*."""
    return Statement.of("pins", names, {"seconds": seconds}, standing.pins)


def server(names: Names) -> Statement[standing.Server]:
    """Answer how the server stands to us."""
    return Statement.of("standing", names, {}, standing.server)


def days_missing(names: Names) -> Statement[list[str]]:
    """Answer for which days, of today and tomorrow, the history has no partition."""
    params = {"prefix": names.prefix}
    return Statement.of("days_missing", names, params, lambda found: [row[0] for row in found])


def set_aside(names: Names) -> Statement[list[standing.Aside]]:
    """Answer how many jobs are quarantined or lost, by queue; it reads all of the history."""
    return Statement.of("set_aside", names, {}, standing.set_aside)


def waiting(names: Names) -> Statement[list[standing.Waiting]]:
    """Answer how many jobs are due and wait, by queue; it reads all live jobs."""
    return Statement.of("waiting", names, {}, standing.waiting)


def refused(names: Names) -> Statement[list[standing.Refused]]:
    """Answer which jobs workers refuse, not knowing what they call; it reads all that wait."""
    return Statement.of("refused", names, {}, standing.refused)
