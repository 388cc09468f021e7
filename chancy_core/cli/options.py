"""The options that every command has."""

from typing import Annotated, Any

from attrs import frozen
from cyclopts import Group, Parameter

SHARED = Group("For every command", sort_key=100)


def _option(text: str, **more: Any) -> Parameter:
    return Parameter(help=text, group=SHARED, show_default=False, **more)


@Parameter(name="*")
@frozen(kw_only=True)
class Options:
    """What was said by options, before or behind the command; see `Settings` for what it means."""

    app: Annotated[
        str | None, _option("Your Chancy: a file, a module, or module:name.", alias="-A")
    ] = None
    dsn: Annotated[str | None, _option("The database, whatever the application says.")] = None
    schema: Annotated[str | None, _option("The schema of the tables, where no app says it.")] = None
    prefix: Annotated[str | None, _option("The prefix of all names, where no app says it.")] = None
    jobs: Annotated[str | None, _option("Modules that register jobs: acme.jobs,acme.mail.")] = None
    trio: Annotated[bool | None, _option("Run on trio, or not: on asyncio.")] = None
    json: Annotated[bool, _option("Answer for programs: one JSON value a line.", negative=())] = (
        False
    )
    traceback: Annotated[
        bool, _option("Show where an error comes from.", alias="-v", negative=())
    ] = False


#: Those of them that take a value.
VALUED = frozenset({"--app", "-A", "--dsn", "--schema", "--prefix", "--jobs"})
