"""A plot of lines over two logarithmic axes, as SVG; what the benchmarks draw their growth with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 560, 360, 70, 48, 34, 130
COLORS = ("#0b62a4", "#c4561d", "#3f7d20", "#7a3f9d")


def log_plot(
    path: Path, title: str, x_label: str, y_label: str, lines: Mapping[str, Sequence[tuple[float, float]]]
) -> None:
    """Write the plot.

    Args:
        path: the SVG file.
        title: above the plot.
        x_label: below the horizontal axis.
        y_label: beside the title, for the vertical axis.
        lines: name → points (x, y), all > 0.

    Raises:
        ValueError: there is nothing to draw, or a value is not > 0.
    """
    points = [point for line in lines.values() for point in line]
    if not points or min(value for point in points for value in point) <= 0:
        raise ValueError(f"a logarithmic plot needs values > 0, got {points}")
    ends = [_decades([point[axis] for point in points]) for axis in (0, 1)]

    def place(point: tuple[float, float]) -> tuple[float, float]:
        share = [(math.log10(value) - low) / (high - low) for value, (low, high) in zip(point, ends, strict=True)]
        return LEFT + share[0] * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - share[1] * (HEIGHT - BOTTOM - TOP)

    parts = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}; {escape(y_label)}</text>']
    for decade in range(ends[0][0], ends[0][1] + 1):
        x, bottom = place((10.0**decade, 10.0 ** ends[1][0]))
        parts.append(f'<path d="M{x:.1f} {bottom:.1f}V{TOP}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">1e{decade}</text>')
    for decade in range(ends[1][0], ends[1][1] + 1):
        left, y = place((10.0 ** ends[0][0], 10.0**decade))
        parts.append(f'<path d="M{left:.1f} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">1e{decade}</text>')
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>'
    )
    for number, (name, line) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        placed = [place(point) for point in line]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in placed]
        x, y = placed[-1]
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" fill="{color}">{escape(name)}</text>')
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)
