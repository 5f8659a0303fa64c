"""Processor time a request as bars, one panel a case: SVG, by hand. Readable on light and dark pages, where it has no ground of its own."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final

from bench.figures import Line
from bench.plan import TITLES, Case

WIDTH: Final = 860
_NAMES, _BARS, _BAR, _GAP = 230, 400, 14, 8
_STYLE: Final = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 13px }
  .note { fill: #57606a }
  .bar { fill: #8c959f }
  .ours { fill: #0969da }
  .range { stroke: #24292f; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .note { fill: #9198a1 }
    .bar { fill: #6e7681 }
    .ours { fill: #4493f8 }
    .range { stroke: #e6edf3 }
  }
"""


def draw(tables: Mapping[Case, list[Line]]) -> str:
    """The chart of all cases, each with its own scale, the least processor time first."""
    body: list[str] = []
    y = 24
    for case, table in tables.items():
        drawn, y = _panel(case, sorted(table, key=lambda line: line.cpu_us.median), y)
        body += drawn
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">\n'
        f"<title>Microseconds of processor time a request: median, range, and ratio to nginx + Lua + Redis</title>\n<style>{_STYLE}</style>\n"
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _panel(case: Case, table: list[Line], y: int) -> tuple[list[str], int]:
    """One case from ``y`` on; and where the next begins."""
    scale = _BARS / max((line.cpu_us.high for line in table), default=1.0)
    out = [f'<text class="title" x="0" y="{y}">{escape(case.title)}: µs CPU a request</text>']
    y += 12
    for line in table:
        spread, middle = line.cpu_us, y + _BAR / 2
        ratio = f" · {line.cpu_ratio.median:.2f}\u00d7" if line.cpu_ratio else ""
        ours = "bar ours" if line.row.startswith("scopegate") else "bar"
        out += [
            f'<text x="{_NAMES - 8}" y="{middle + 4:.0f}" text-anchor="end">{escape(TITLES[line.row])}</text>',
            f'<rect class="{ours}" x="{_NAMES}" y="{y}" width="{spread.median * scale:.1f}" height="{_BAR}" rx="2"/>',
            f'<line class="range" x1="{_NAMES + spread.low * scale:.1f}" x2="{_NAMES + spread.high * scale:.1f}" y1="{middle}" y2="{middle}"/>',
            f'<text class="note" x="{_NAMES + spread.high * scale + 8:.1f}" y="{middle + 4:.0f}">{spread.median:.0f} µs{ratio}</text>',
        ]
        y += _BAR + _GAP
    return out, y + 24
