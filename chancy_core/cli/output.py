"""How a command answers: tables for people, JSON for programs, and talk beside both."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO
from uuid import UUID

from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table

#: Columns of a table that nobody watches: it is cut by whoever reads it, if at all.
_ENDLESS = 10_000


class _Console(Console):
    """A console that leaves it to the command that nobody reads what it writes."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(file: TextIO) -> Console:
    """Return a console on *file*; one that is no terminal is as wide as its text."""
    return _Console(
        file=file,
        width=None if file.isatty() else _ENDLESS,
        highlight=False,
        soft_wrap=False,
        emoji=False,
    )


class Output:
    """Answers on stdout: with *as_json* one JSON value a line, else text; all talk on stderr."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._out = console(sys.stdout)
        self._err = console(sys.stderr)

    @property
    def watched(self) -> bool:
        """Whether somebody sits there: talk goes to a terminal."""
        return self._err.is_terminal

    def say(self, text: str) -> None:
        """Tell a person, on stderr, what is done."""
        self._err.print(text, markup=False)

    def item(self, value: Any, text: str | None = None) -> None:
        """Answer with JSON data, times and ids; people are shown *text* instead, if given."""
        if self.as_json:
            sys.stdout.write(f"{_text(value)}\n")
        elif text is not None:
            self._out.print(text, markup=False, soft_wrap=True)
        elif isinstance(value, Mapping):
            self._pairs(value)
        else:
            self._out.print(cell(value), markup=False, soft_wrap=True)

    def items(
        self,
        values: Iterable[Mapping[str, Any]],
        columns: Sequence[str],
        none: str = "none",
    ) -> None:
        """Answer with several values; people are shown these *columns*, or *none* if it is none."""
        if self.as_json:
            for value in values:
                sys.stdout.write(f"{_text(value)}\n")
            return
        rows = [[cell(value.get(column)) for column in columns] for value in values]
        if rows:
            self._table([column.replace("_", " ") for column in columns], rows)
        else:
            self.say(none)

    @contextmanager
    def live(
        self, columns: Sequence[str], none: str
    ) -> Iterator[Callable[[Iterable[Mapping[str, Any]]], None]]:
        """Show a table in place, which what this gives replaces: on a terminal, as in `items`."""
        from rich.live import Live

        heads = [column.replace("_", " ") for column in columns]
        with Live(console=self._out, auto_refresh=False) as screen:

            def show(values: Iterable[Mapping[str, Any]]) -> None:
                rows = [[cell(value.get(column)) for column in columns] for value in values]
                screen.update(_grid(heads, rows) if rows else none, refresh=True)

            yield show

    def _table(self, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        self._out.print(_grid(heads, rows))

    def _pairs(self, value: Mapping[str, Any]) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for key, one in value.items():
            table.add_row(Text(key.replace("_", " ")), Text(cell(one)))
        self._out.print(table)

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Show how far it is, where somebody watches; what this gives is told of each step."""
        if not self.watched:
            yield lambda _: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self._err, transient=True) as bars:
            bar = bars.add_task(what, total=total)
            yield lambda done: bars.advance(bar, done)

    def flush(self) -> None:
        """Write what is still held back."""
        sys.stdout.flush()


def _grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def cell(value: Any) -> str:
    """Return a value, plain or a time or an id, as a person reads it in a table."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
    if isinstance(value, str | UUID):
        return str(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
