"""Somebody who follows a page: writes its files, types its commands, and compares the answers.

What a page has to be like for that:

* a block of Python or TOML begins with a comment that names its file, and is added to what is
  there; a function that is there already is replaced;
* a block of `console` has commands, one a line, or with `$ ` before each and its answer below;
* what `chancy dev` and `chancy worker` answer may come later: they run on, each in a terminal of
  its own, until the reader leaves by Ctrl-C;
* a block of `text` is what one of those terminals shows meanwhile.

An answer may have `...` for what is different each time.
"""

import ast
import os
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

#: Seconds that a command, or a line in a terminal, may take.
PATIENCE = 20.0


def steps(text: str) -> Iterator[tuple[str, str]]:
    """The blocks of a page, as (language, text)."""
    yield from re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(block: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a block of `console`, each with the lines that it should answer."""
    if not block.startswith("$ "):
        yield from ((line, []) for line in block.splitlines() if line)
        return
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *answer = part.splitlines()
        yield command, [line for line in answer if line.strip()]


def fits(expected: str, line: str) -> bool:
    """Whether a line is as the page has it; it is not asked how many blanks are in a row."""
    wanted, seen = (" ".join(text.split()) for text in (expected, line))
    return re.fullmatch(".*".join(map(re.escape, wanted.split("..."))), seen) is not None


def agrees(answer: Sequence[str], said: Sequence[str]) -> bool:
    """Whether all that was said is as the page has it; `...` alone is any number of lines."""
    if not answer:
        return not said
    if answer[0] == "...":
        return any(agrees(answer[1:], said[n:]) for n in range(len(said) + 1))
    return bool(said) and fits(answer[0], said[0]) and agrees(answer[1:], said[1:])


def without(code: str, block: str) -> str:
    """Some code, without those functions that a block has anew."""
    new = set(re.findall(r"^(?:async )?def (\w+)", block, re.MULTILINE))
    lines = code.splitlines(keepends=True)
    for node in reversed(ast.parse(code).body if new else []):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in new:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            del lines[first - 1 : node.end_lineno]
    return "".join(lines)


class Terminal:
    """A command that runs on, and what it has said."""

    def __init__(self, command: str, folder: Path, env: dict[str, str]) -> None:
        self.command = command
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._seen = 0
        self._ended = False
        self.process = subprocess.Popen(
            shlex.split(command),
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self._said_by = self.process.stdout
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._said_by:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()
        with self._said:
            self._ended = True
            self._said.notify_all()

    def expect(self, answer: Sequence[str]) -> None:
        """Wait until it has said these lines, in this order, after those that it said before."""
        for expected in answer:
            with self._said:
                self._said.wait_for(lambda line=expected: self._ended or self._find(line), PATIENCE)
                found = self._find(expected)
            said = "\n".join(self.lines)
            assert found, f"{self.command} did not say\n{expected}\nbut\n{said}"
            self._seen = found

    def _find(self, expected: str) -> int:
        """Return how many lines it has said up to this one; 0 if it has not."""
        numbers = range(self._seen, len(self.lines))
        return next((n + 1 for n in numbers if fits(expected, self.lines[n])), 0)

    def leave(self) -> int:
        """Press Ctrl-C, and wait for its end."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self._reader.join(PATIENCE)
            self._said_by.close()


class Reader:
    """Follows pages in a folder of its own."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.env = os.environ | env
        # An environment that was made here is activated in each terminal.
        self.env["PATH"] = f"{folder / '.venv/bin'}{os.pathsep}{self.env['PATH']}"
        self.terminals: list[Terminal] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        left = {terminal.command: terminal.leave() for terminal in reversed(self.terminals)}
        if exc is None:
            assert set(left.values()) <= {0}, left

    def follow(self, text: str) -> None:
        """Do all that a page says."""
        for language, block in steps(text):
            self.do(language, block)

    def do(self, language: str, block: str) -> None:
        """Do what a block says."""
        if language in {"python", "toml"}:
            self.write(block)
        elif language == "console":
            for command, answer in commands(block):
                self.type(command, answer)
        elif language == "text":
            self.terminals[0].expect(block.splitlines())

    def write(self, block: str) -> None:
        """Write a file, or add to it."""
        named = re.match(r"# ([\w/]+\.\w+)\n", block)
        assert named is not None, f"which file is this?\n{block}"
        file = self.folder / named[1]
        before = file.read_text() if file.exists() else ""
        file.write_text(without(before, block) + block)

    def type(self, command: str, answer: Sequence[str] = ()) -> None:
        """Run a command as bash does, and compare its answer."""
        if command.startswith(("chancy dev", "chancy worker ")):
            self.terminals.append(Terminal(command, self.folder, self.env))
            self.terminals[-1].expect(answer)
            return
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=5 * PATIENCE,
            check=False,
        )
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        assert done.returncode == 0 or answer, f"{command}\n{done.stdout}{done.stderr}"
        if answer:
            assert agrees(answer, said), "\n".join(
                [f"{command} should say", *answer, "but says", *said]
            )
