"""Files of days that are dropped: one for each, JSON by lines, compressed; written, and read back.

    chancy_history_20260101.jsonl.gz
    {"chancy": "history", "format": 1, "installation": "…", "day": "2026-01-01"}
    {"id": "…", "queue": "mail", "func": "acme.send", …}
    {"rows": 1}

A file has its name once all of it is on the disk: it is complete, or not there.
"""

import gzip
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import anyio
from anyio import to_thread

from chancy_core.codec import shown
from chancy_core.errors import InvalidValue
from chancy_core.host import Database
from chancy_plugins.retention import rows as asked
from chancy_plugins.retention import statements
from chancy_plugins.retention.pace import Pace

FORMAT = 1
#: The middle between time and size: two thirds of the size that the least has, in twice its time.
_LEVEL = 6


class NotExported(Exception):
    """A day could not be written down, for the reason that this says, and so stays."""


def read(path: str | Path) -> Iterator[dict[str, Any]]:
    """Read the jobs of a file, each with all columns of the history, by their names.

    Raises `InvalidValue` for what is no such file, or not all of one.
    """
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        try:
            _head(next(lines, ""), path)
            for rows, line in enumerate(lines):
                document = json.loads(line)
                if document.keys() == {"rows"}:
                    if document["rows"] == rows and not next(lines, None):
                        return
                    break
                yield document
        except (OSError, EOFError, ValueError, AttributeError) as exc:
            if isinstance(exc, InvalidValue):
                raise
            raise InvalidValue(f"{path} is no export of a day: {exc}") from exc
    raise InvalidValue(f"{path} is not all of an export")


def _head(line: str, path: str | Path) -> dict[str, Any]:
    head = json.loads(line or "{}")
    if not isinstance(head, dict) or (head.get("chancy"), head.get("format")) != (
        "history",
        FORMAT,
    ):
        raise InvalidValue(f"{path} is no export of a day: it begins with {shown(line)}")
    return head


class Exporter:
    """Writes days into a folder."""

    def __init__(self, folder: str | Path, database: Database, installation: UUID) -> None:
        self._folder = Path(folder)
        self._database = database
        self._installation = str(installation)

    def path(self, day: date) -> Path:
        """Return what the file of a day is called."""
        return self._folder / f"{self._database.names.prefix}history_{day:%Y%m%d}.jsonl.gz"

    async def write(self, day: date, pace: Pace) -> int | None:
        """Write a day down; answers how many jobs it has, None if its file is there already.

        Raises `NotExported` for what the disk says, and if another installation's file is there.
        """
        try:
            if await to_thread.run_sync(self._is_there, day):
                return None
            return await self._write(day, pace)
        except OSError as exc:
            why = exc.strerror or exc  # without the name of a file that is another each time
            raise NotExported(
                f"the day {day} stays: it cannot be written down into {self._folder}: {why}"
            ) from exc

    def _is_there(self, day: date) -> bool:
        path = self.path(day)
        if not path.exists():
            return False
        try:
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                head = _head(next(lines, ""), path)
        except (EOFError, ValueError) as exc:
            raise NotExported(f"the day {day} stays: {exc}; move that file elsewhere") from exc
        if (head.get("installation"), head.get("day")) != (self._installation, str(day)):
            raise NotExported(
                f"the day {day} stays: {path} is another installation's; give each a folder"
            )
        return True

    async def _write(self, day: date, pace: Pace) -> int:
        begun = await to_thread.run_sync(_Part, self.path(day))
        try:
            about = {"chancy": "history", "format": FORMAT}
            about |= {"installation": self._installation, "day": str(day)}
            rows, after = 0, None
            await to_thread.run_sync(begun.write, [json.dumps(about)])
            while True:
                async with pace:
                    page = await self._page(day, after)
                rows += len(page)
                ended = len(page) < asked.BATCH
                lines = [line for _, _, line in page] + [json.dumps({"rows": rows})] * ended
                await to_thread.run_sync(begun.write, lines)
                pace.tell(f"writing {day} down", len(page))
                if ended:
                    await to_thread.run_sync(begun.finish)
                    return rows
                after = page[-1][:2]
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(begun.close)

    async def _page(
        self, day: date, after: tuple[UUID, datetime] | None
    ) -> list[tuple[UUID, datetime, str]]:
        names = self._database.names
        _, page = await self._database.run(statements.gently(names), asked.page(names, day, after))
        return page  # type: ignore[no-any-return]


class _Part:
    """A file that is being written, under a name of its own until it is complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)
        self._name = Path(name)
        self._raw: IO[bytes] = os.fdopen(handle, "wb")
        self._lines = gzip.GzipFile("", "wb", _LEVEL, self._raw, mtime=0)

    def write(self, lines: Iterable[str]) -> None:
        self._lines.write("".join(f"{line}\n" for line in lines).encode())

    def finish(self) -> None:
        """Have all of it on the disk, and then under its name."""
        self._lines.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self._name.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        for left in self._path.parent.glob(f"{self._path.name}.*.part"):
            left.unlink(missing_ok=True)  # of those that died

    def close(self) -> None:
        """Close it; what is not complete is removed."""
        with suppress(OSError):  # a full disk, of which was told before
            self._lines.close()
        self._raw.close()
        self._name.unlink(missing_ok=True)
