"""How the demo speaks: a line for each event; on a terminal also bars that move below them."""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from chancy_core.cli.demo.crew import Hand
from chancy_core.cli.demo.standing import Standing
from chancy_core.queue import Queue


class Teller:
    """Tells what happens, with the seconds since it began to."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()
        self._acts = 0
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("  {task.description:<18}"), BarColumn(), MofNCompleteColumn()
        )
        self._hands = Text()
        # It draws nothing where nobody watches: each line is there once, and nothing else.
        self._live = Live(
            console=console, get_renderable=self._picture, auto_refresh=False, transient=True
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self._began

    def title(self, text: str) -> None:
        """Say what this is."""
        self._print(text, "bold")

    def act(self, name: str, meaning: str) -> None:
        """Begin an act, and say what it shows."""
        self._acts += 1
        self._print(f"\n{self._acts}. {name}", "bold cyan")
        self._print(f"   {meaning}", "italic")

    def say(self, text: str, style: str = "") -> None:
        """Say that something has happened."""
        self._print(f"{self.seconds:6.1f} s  {text}", style)

    def _print(self, text: str, style: str) -> None:
        self.console.print(Text(text, style), soft_wrap=True)

    def expect(self, queues: Iterable[Queue], jobs: int) -> None:
        """Have a bar for each queue, of so many jobs."""
        for queue in queues:
            name = f"{queue.name} ({queue.executor})"
            self._bars[queue.name] = self._progress.add_task(name, total=jobs)

    def show(self, standing: Standing, hands: Iterable[Hand]) -> None:
        """Draw how things stand, on a terminal."""
        for queue, bar in self._bars.items():
            self._progress.update(bar, completed=standing.finished(queue))
        self._hands = Text("   ").join(_state(hand, standing) for hand in hands)
        if self._live.is_started:
            self._live.refresh()

    def _picture(self) -> Group:
        return Group(self._progress, Text("  ").append_text(self._hands)) if self._bars else Group()


def _state(hand: Hand, standing: Standing) -> Text:
    """Say what a worker does, as far as its row and those of its jobs tell."""
    held = standing.running(hand.id) if hand.id else 0
    if not hand.killed:
        style, word = ("green", f"runs {held}") if hand.alive else ("yellow", "starts")
    else:
        style, word = "red", f"killed, holds {held}" if held else "buried"
    return Text(f"{hand.name} {word}", style)
