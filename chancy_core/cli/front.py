"""The first page, `chancy --help`, as plain text: cyclopts and rich take longer than it lasts."""

import sys

from chancy_core.cli import failing
from chancy_core.cli.commands import COMMANDS, offered
from chancy_core.discovery import OURS
from chancy_core.errors import ChancyError

_ABOVE = """\
Usage: chancy COMMAND [OPTIONS]

A job queue on PostgreSQL for asyncio and trio."""
_BELOW = """
Each command has --app, --dsn, --schema, --prefix, --jobs, --trio, --json and --traceback;
`chancy COMMAND --help` says what they mean. `chancy --version` says which one this is."""


def front_page() -> int:
    """Show which commands there are, without importing any of them; return the exit code."""
    try:
        sys.stdout.write("\n".join(_lines(offered())) + "\n")
        sys.stdout.flush()
    except (ChancyError, BrokenPipeError) as exc:
        return failing.explain(exc, as_json=False, traceback=False)
    return failing.DONE


def _lines(strangers: dict[str, str]) -> list[str]:
    headings: dict[str, dict[str, str]] = {}
    for name, command in COMMANDS.items():
        headings.setdefault(command.heading, {})[name] = command.help
    for name, who in strangers.items():
        heading = "From shipped plugins" if who == OURS else "From other packages"
        headings.setdefault(heading, {})[name] = f"({who})"
    width = max(len(name) for names in headings.values() for name in names)
    lines = [_ABOVE]
    for heading, names in headings.items():
        lines += ["", heading, *(f"  {name:<{width}}  {text}" for name, text in names.items())]
    return [*lines, _BELOW]
