"""The command `chancy`, typed into a terminal by a person, or called by a program."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any

from attrs import frozen

from tests.ready import Forked, Ready

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

    def __init__(self, process: subprocess.Popen[bytes] | Forked, end: int) -> None:
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
    ready: Ready
    """What becomes the commands of which only the end is waited for."""

    @contextmanager
    def open(self, *words: str, columns: int = 200, **environ: str) -> Iterator[Typed]:
        """Type the command into a terminal; it is killed at the end if it runs yet."""
        with terminal(columns) as (ours, theirs):
            process = subprocess.Popen(
                [sys.executable, "-c", TAKE, CHANCY, *words],
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

    def people(self, *words: str, answer: str = "", code: int = 0, **environ: str) -> str:
        """Type the command, and perhaps an answer to its question; return what was shown."""
        with terminal() as (ours, theirs):
            set_up = dict(self.environ) | {"TERM": "xterm"} | environ
            process = self.ready.begin([CHANCY, *words], self.folder, set_up, [theirs] * 3)
            os.close(theirs)
            typed = Typed(process, ours)
            try:
                if answer:
                    typed.expect("[y/N]")
                    typed.type(answer)
                assert typed.end() == code, typed.text
            finally:
                process.kill()
                process.wait()
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
        """Call the command, with a pipe and two files at its ends."""
        reading, writing = os.pipe()
        os.write(writing, given.encode())  # what is given has room in a pipe
        os.close(writing)
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            ends = [reading, out.fileno(), err.fileno()]
            set_up = dict(self.environ) | environ
            process = self.ready.begin([CHANCY, *words], self.folder, set_up, ends)
            os.close(reading)
            try:
                code = process.wait(60)
            finally:
                process.kill()
                process.wait()
            for said in (out, err):
                said.seek(0)
            return subprocess.CompletedProcess(words, code, out.read(), err.read())


@contextmanager
def terminal(columns: int = 200) -> Iterator[tuple[int, int]]:
    """Our end of a new terminal, and that of a command, which is to be closed in the block."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    try:
        yield ours, theirs
    finally:
        os.close(ours)


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
