"""Pictures of workflows, as text that Graphviz and Mermaid read."""

from collections.abc import Iterable

from attrs import frozen

#: The colours of states: of the inside, and of the edge.
COLOURS = {
    "waiting": ("#f3f4f6", "#9ca3af"),
    "ready": ("#fef9c3", "#ca8a04"),
    "queued": ("#dbeafe", "#2563eb"),
    "succeeded": ("#dcfce7", "#16a34a"),
    "failed": ("#fee2e2", "#dc2626"),
    "cancelled": ("#e5e7eb", "#4b5563"),
    "excused": ("#ffedd5", "#ea580c"),
}
_SHAPES = {"job": "box", "group": "hexagon", "map": "folder"}
#: How Mermaid writes each shape, around a text.
_BRACKETS = {"job": ('["', '"]'), "group": ('{{"', '"}}'), "map": ('[["', '"]]')}


@frozen
class Drawn:
    """A step as a picture has it."""

    name: str
    kind: str = "job"
    #: Its state, if it has been pushed.
    state: str | None = None


def dot(title: str, steps: Iterable[Drawn], waits: Iterable[tuple[str, str]]) -> str:
    """Return a graph in the language of Graphviz, left to right."""
    lines = [
        f"digraph {_quoted(title)} {{",
        "  rankdir=LR;",
        '  node [shape=box, style="rounded,filled", fillcolor="#f3f4f6", fontname="sans-serif"];',
    ]
    for step in steps:
        looks = [f"shape={_SHAPES[step.kind]}"] if step.kind != "job" else []
        if step.state is not None:
            inside, edge = COLOURS[step.state]
            looks += [
                f'fillcolor="{inside}"',
                f'color="{edge}"',
                f"tooltip={_quoted(step.state)}",
            ]
        lines.append(f"  {_quoted(step.name)}" + (f" [{', '.join(looks)}];" if looks else ";"))
    lines += [f"  {_quoted(before)} -> {_quoted(after)};" for before, after in waits]
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    """Write a text as Graphviz takes it literally: in it a backslash begins an escape."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_plain(escaped)}"'


def mermaid(steps: Iterable[Drawn], waits: Iterable[tuple[str, str]]) -> str:
    """Return a flowchart in the language of Mermaid, left to right."""
    lines = ["flowchart LR"]
    numbers: dict[str, str] = {}
    states: dict[str, list[str]] = {}
    for step in steps:
        number = numbers[step.name] = f"s{len(numbers)}"
        left, right = _BRACKETS[step.kind]
        lines.append(f"  {number}{left}{_entities(step.name)}{right}")
        if step.state is not None:
            states.setdefault(step.state, []).append(number)
    lines += [f"  {numbers[before]} --> {numbers[after]}" for before, after in waits]
    for state, those in states.items():
        inside, edge = COLOURS[state]
        lines.append(f"  classDef {state} fill:{inside},stroke:{edge}")
        lines.append(f"  class {','.join(those)} {state}")
    return "\n".join([*lines, ""])


def _entities(text: str) -> str:
    """Write a text so that Mermaid, and the HTML that it makes, show it as it is."""
    plain = _plain(text)
    return "".join(one if one.isalnum() or one in " _-.:/" else f"#{ord(one)};" for one in plain)


def _plain(text: str) -> str:
    """Show what has no form on one line."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
