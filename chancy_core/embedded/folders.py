"""Where servers live."""

import os
from pathlib import Path

from chancy_core.embedded import programs
from chancy_core.errors import EmbeddedError


def home() -> Path:
    """The folder of all that is ours: CHANCY_HOME, or the user's, or root's."""
    told = os.environ.get("CHANCY_HOME")
    if told:
        return Path(told).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/chancy")
    try:
        from platformdirs import user_data_path
    except ModuleNotFoundError as error:
        raise EmbeddedError(
            'Where to keep the data? Either `pip install "chancy[embedded]"`, or name a folder '
            "by CHANCY_HOME, or a server that runs by CHANCY_DSN."
        ) from error
    return user_data_path("chancy")


def default_folder() -> Path:
    """The folder that is used if none is named: one for each major version."""
    return home() / f"pg{programs.find().major}"


def make(folder: Path) -> None:
    """Make our folders: private ones, but for root, whose servers run as another user."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        path.chmod(0o755 if os.geteuid() == 0 else 0o700)
