"""The command `chancy`: its doors need the extra `cli`, and it says so where that is missing."""

import importlib.util
import sys


def main() -> None:
    """Run the command line."""
    missing = [name for name in ("cyclopts", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"chancy: the command line needs {', '.join(missing)}: pip install 'chancy[cli]'")
    from chancy_core.cli.commands import app

    app()
