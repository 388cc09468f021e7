"""The table of executors on their page: what those that come with Chancy say of themselves.

    python -m tests.offered

writes it into docs/executors.md, between two markers; what people have written around them stays
as it is. Whatever is offered as an executor is in it, and whatever an executor can do.
"""

import inspect
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import fields

from chancy_core import discovery
from chancy_core.capability import Capability
from chancy_core.executor import Executor

BEGIN, END = "<!-- offered: begin -->", "<!-- offered: end -->"
PAGE = Path(__file__).parent.parent / "docs/executors.md"
#: As many processors as no machine has: what is as many as there are is told by that.
PROCESSORS = 7919


def ours() -> dict[str, type[Executor]]:
    """The executors of the distribution `chancy` that is installed here, by their names."""
    who = f"{discovery.OURS} {discovery.version()}"
    return {
        offer.name: offer.entry.load()
        for offer in discovery.survey()
        if (offer.group, offer.distribution) == ("chancy.executors", who)
    }


def table(executors: Mapping[str, type[Executor]]) -> str:
    """A row for each of these, and what the words at the heads of the columns mean."""
    head = ["`executor=`", *(f"`{one.words}`" for one in Capability), "at once", "options"]
    lines = [head, ["---"] * len(head), *(cells(*each) for each in executors.items())]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    said = "; ".join(f"`{word}` {meaning}" for word, meaning in meanings().items() if meaning)
    return f"{rows}\n\nWhat an executor can: {said}."


def cells(name: str, made: type[Executor]) -> list[str]:
    able = ["yes" if one in made.capabilities else "" for one in Capability]
    options = ", ".join(f"`{field.name}`" for field in fields(made.Options))
    return [f"`{name}`", *able, number(made.default_concurrency), options]


def number(concurrency: int) -> str:
    """How many run at once where the queue leaves it open."""
    times, rest = divmod(concurrency, PROCESSORS)
    if rest or not times:
        return f"{concurrency:,}"
    return f"{'one' if times == 1 else times} for each processor"


def meanings() -> dict[str, str]:
    """What stands in the source with each capability, behind it or above it, by its name."""
    found, above = {}, ""
    for line in inspect.getsource(Capability).splitlines():
        if comment := re.fullmatch(r" +#: (.+)", line):
            above = f"{above} {comment[1]}".strip()
        elif member := re.match(r" +([A-Z_]+) = enum\.auto\(\)(?: +#: (.+))?", line):
            found[Capability[member[1]].words] = member[2] or above
            above = ""
    return found


def written(page: str, text: str) -> str:
    """The page with *text* between its markers. Raises ValueError if it does not have both."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"{PAGE} has no markers {BEGIN} and {END}")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def main() -> None:
    for name in {"cpu_count", "process_cpu_count"} & set(dir(os)):
        setattr(os, name, lambda: PROCESSORS)
    text = table(ours())
    if "--print" in sys.argv:
        print(text)
    else:
        PAGE.write_text(written(PAGE.read_text(), text))


if __name__ == "__main__":
    main()
