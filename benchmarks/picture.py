"""Pictures of numbers over time, as SVG: panels below each other, with some lines in each.

Knows nothing of what the numbers mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 900, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 190, 30, 26
_POINTS = 160
_COLOURS = ("#2f6fb0", "#d1793b", "#3d8f5f", "#8a5aa8", "#6b6b6b")


@dataclass(frozen=True, slots=True)
class Line:
    """Numbers over time. Shapes: values [N]."""

    name: str
    values: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines on the same axes."""

    title: str
    lines: Sequence[Line]


def svg(title: str, panels: Sequence[Panel]) -> str:
    """Draw panels below each other."""
    tall = HEIGHT * len(panels) + _TOP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tall}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{tall}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20" font-size="15">{escape(title)}</text>',
    ]
    for index, panel in enumerate(panels):
        parts += _panel(panel, top=_TOP + index * HEIGHT)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, *, top: int) -> list[str]:
    longest = max(len(line.values) for line in panel.lines)
    highest = max(1, max(int(line.values.max(initial=0)) for line in panel.lines))
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    low = top + _TOP + high
    parts = [
        f'<text x="{_LEFT}" y="{top + 20}" font-weight="bold">{escape(panel.title)}</text>',
        f'<path d="M{_LEFT} {top + _TOP}V{low}H{_LEFT + wide}" fill="none" stroke="#888"/>',
        f'<text x="{_LEFT - 6}" y="{top + _TOP + 4}" text-anchor="end">{highest}</text>',
        f'<text x="{_LEFT - 6}" y="{low}" text-anchor="end">0</text>',
        f'<text x="{_LEFT + wide}" y="{low + 16}" text-anchor="end">step {longest}</text>',
    ]
    for index, line in enumerate(panel.lines):
        colour = _COLOURS[index % len(_COLOURS)]
        points = _points(line.values, wide / longest, high / highest, low)
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.2"/>',
            f'<text x="{_LEFT + wide + 10}" y="{top + _TOP + 12 + 16 * index}" fill="{colour}">'
            f"{escape(line.name)}</text>",
        ]
    return parts


def _points(values: npt.NDArray[np.int64], step: float, scale: float, low: int) -> str:
    """Give the place and the mean of each of so many parts of the line."""
    parts = np.array_split(values, min(len(values), _POINTS))
    found, at = [], 0
    for part in parts:
        x = _LEFT + step * (at + len(part) / 2)
        found.append(f"{x:.0f},{low - scale * float(part.mean()):.0f}")
        at += len(part)
    return " ".join(found)
