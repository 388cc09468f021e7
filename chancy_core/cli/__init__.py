"""The command `chancy`: its doors need the extra `cli`, and it says so where that is missing."""

import importlib.util
import sys


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    missing = [name for name in ("cyclopts", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        print(  # noqa: T201 - what it would be said with is what is missing
            f"chancy: the command line needs {', '.join(missing)}: pip install 'chancy[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    tokens = sys.argv[1:]
    if tokens in ([], ["--help"], ["-h"]):
        from chancy_core.cli.front import front_page

        sys.exit(front_page())
    from chancy_core.cli.calling import call

    sys.exit(call(tokens))
