"""Small changes of a copy of our code, each of a place that must be there exactly once."""

import ast
from pathlib import Path
from typing import Protocol

from attrs import frozen


class DoesNotApply(Exception):
    """What a patch takes out is not there exactly once: the code has moved on."""


class Patch(Protocol):
    """A change of one file."""

    @property
    def file(self) -> str:
        """Which, below the root of the checkout."""

    def changed(self, text: str) -> str:
        """Return the file's text, changed. Raises `DoesNotApply`."""


@frozen
class Sql:
    """Another clause in place of one, in a file of SQL."""

    file: str
    clause: str
    instead: str = ""

    def changed(self, text: str) -> str:
        if (count := text.count(self.clause)) != 1:
            raise DoesNotApply(f"{self.file}: {self.clause!r} is there {count} times, not once")
        return text.replace(self.clause, self.instead)


@frozen
class Python:
    """Another expression, or statement, in place of one of a function: `Class.method`, or its name.

    They are compared as trees, so that neither line breaks nor comments count.
    """

    file: str
    function: str
    code: str
    instead: str

    def changed(self, text: str) -> str:
        tree = ast.parse(text)
        swap = _Swap(_parsed(self.code), _parsed(self.instead))
        swap.visit(_found(tree, self.function, self.file))
        if swap.count != 1:
            raise DoesNotApply(
                f"{self.file}: {self.code!r} is {swap.count} times in {self.function}, not once"
            )
        return ast.unparse(ast.fix_missing_locations(tree))


def apply(patch: Patch, root: Path) -> None:
    """Change the file below *root*. Raises `DoesNotApply`."""
    path = root / patch.file
    path.write_text(patch.changed(path.read_text()))


class _Swap(ast.NodeTransformer):
    """Puts one tree in place of all that equal another, and counts them."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = ast.dump(old), new
        self.count = 0

    def visit(self, node: ast.AST) -> ast.AST:
        if ast.dump(node) != self._old:
            return self.generic_visit(node)
        self.count += 1
        return self._new


def _parsed(code: str) -> ast.AST:
    (statement,) = ast.parse(code).body
    return statement.value if isinstance(statement, ast.Expr) else statement


def _found(tree: ast.Module, function: str, file: str) -> ast.AST:
    node: ast.AST = tree
    for name in function.split("."):
        inner = [
            child
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and child.name == name
        ]
        if len(inner) != 1:
            raise DoesNotApply(f"{file}: there is no {function}")
        node = inner[0]
    return node
