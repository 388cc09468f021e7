"""Bars as SVG: a median each, and its spread as a thin line. Pure."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from attrs import frozen

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 760, 200, 90, 18, 8, 40


@frozen
class Bar:
    """One bar: its name, its value, the lowest and the highest that was measured."""

    name: str
    value: float
    low: float
    high: float
    ours: bool = False


def bars(title: str, found: Sequence[Bar]) -> str:
    """A picture of these bars, the first at the top."""
    most = max((bar.high for bar in found), default=1) or 1
    height = TOP + len(found) * (BAR + GAP) + GAP
    scale = (WIDTH - LEFT - RIGHT) / most
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        "<style>text { font: 13px sans-serif }</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{GAP}" y="22">{escape(title)}</text>',
    ]
    for number, bar in enumerate(found):
        y = TOP + number * (BAR + GAP)
        middle = y + BAR / 2
        colour = f'stroke="{"#2a6fb0" if bar.ours else "#b9bec5"}"'
        low, high = (LEFT + end * scale for end in (bar.low, bar.high))
        lines += [
            f'<text x="{LEFT - GAP}" y="{middle + 4}" text-anchor="end">{escape(bar.name)}</text>',
            f'<path d="M{LEFT} {middle}h{bar.value * scale:.1f}" stroke-width="{BAR}" {colour}/>',
            f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#333"/>',
            f'<text x="{high + GAP:.1f}" y="{middle + 4}">{bar.value:,.0f}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
