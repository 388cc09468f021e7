"""The command `chancy`, typed into a terminal by a person, or called by a program."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any

from attrs import field, frozen

CHANCY = str(Path(sys.executable).with_name("chancy"))
#: Makes the terminal at its stdin its own, so that Ctrl-C reaches it, and becomes the command.
TAKE = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|\].*?\x07)")


class Typed:
    """A command that runs in a terminal: what it shows is read, and words are typed."""

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self.process = process
        self._end = end
        self.raw = b""

    @property
    def text(self) -> str:
        """What the terminal has shown so far, without colours."""
        return SEQUENCE.sub("", self.raw.decode(errors="replace")).replace("\r\n", "\n")

    def _read(self, seconds: float) -> bool:
        if not select([self._end], [], [], seconds)[0]:
            return True
        try:
            more = os.read(self._end, 65536)
        except OSError:  # Linux's way to say that nobody is there any more
            more = b""
        self.raw += more
        return bool(more)

    def expect(self, words: str, seconds: float = 20) -> str:
        """Return what is shown once *words* are in it."""
        deadline = time.monotonic() + seconds
        while words not in self.text:
            there = time.monotonic() < deadline and self._read(0.5)
            assert there or words in self.text, f"no {words!r} in:\n{self.text}"
        return self.text

    def type(self, keys: str) -> None:
        """Type *keys*: a line ends in a newline, Ctrl-C is `\\x03`."""
        os.write(self._end, keys.encode())

    def end(self, seconds: float = 20) -> int:
        """Return the exit code, once it has ended."""
        deadline = time.monotonic() + seconds
        while self._read(0.5):
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
        return self.process.wait(seconds)


@frozen
class Answer:
    """What a program was answered: the exit code, the values on stdout, the talk on stderr."""

    code: int
    values: list[Any]
    err: str
    out: str

    @property
    def value(self) -> Any:
        """The only value."""
        (value,) = self.values
        return value


@frozen
class Shell:
    """A shell in a folder, with an environment."""

    folder: Path
    environ: Mapping[str, str]
    command: tuple[str, ...] = field(default=(CHANCY,))

    @contextmanager
    def open(self, *words: str, columns: int = 200, **environ: str) -> Iterator[Typed]:
        """Type the command into a terminal; it is killed at the end if it runs yet."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-c", TAKE, *self.command, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=self.folder,
            env=dict(self.environ) | {"TERM": "xterm"} | environ,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            yield Typed(process, ours)
        finally:
            process.kill()
            process.wait()
            os.close(ours)

    def people(self, *words: str, answer: str = "", code: int = 0, **environ: str) -> str:
        """Type the command, and perhaps an answer to its question; return what was shown."""
        with self.open(*words, **environ) as typed:
            if answer:
                typed.expect("[y/N]")
                typed.type(answer)
            assert typed.end() == code, typed.text
            return typed.text

    def programs(self, *words: str, code: int = 0, given: str = "", **environ: str) -> Answer:
        """Call the command with `--json`; return what a program reads."""
        done = self.call(*words, "--json", given=given, **environ)
        assert done.returncode == code, (done.stdout, done.stderr)
        values = [json.loads(line) for line in done.stdout.splitlines()]
        return Answer(done.returncode, values, done.stderr, done.stdout)

    def call(
        self, *words: str, given: str = "", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Call the command with pipes at all ends."""
        return subprocess.run(
            [*self.command, *words],
            input=given,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=dict(self.environ) | environ,
            timeout=60,
            check=False,
        )


@frozen
class Acme:
    """A stranger's distribution, `acme 1.0`, on the path of a shell's commands."""

    folder: Path

    def install(self, *commands: str, module: str = "") -> None:
        """Have it offer these commands, from a module `acme_commands`."""
        info = self.folder / "acme-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        lines = "\n".join(commands)
        (info / "entry_points.txt").write_text(f"[chancy.commands]\n{lines}\n")
        (self.folder / "acme_commands.py").write_text(module or STRANGE)


STRANGE = '''\
from cyclopts import App

from chancy_core.cli.invocation import Here

admin = App(help="Look after acme.")


async def refunds(day: str, *, here: Here) -> int:
    """Pay back what was paid on a day."""
    async with here.chancy() as chancy:
        queues = [queue.name for queue in await chancy.get_all_queues()]
    here.output.item({"day": day, "queues": queues}, f"{day}: {queues}")
    return 3


@admin.command
def greet(name: str) -> None:
    """Greet."""
    print(f"Hello, {name}!")
'''
