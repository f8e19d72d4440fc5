"""Plots of a match model as inline SVG, in the style of `report_plots`: curves in a unit square, a map of points."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

_SIDE, _LEFT, _TOP = 260, 52, 34
MOST_POINTS = 200
"""A curve of more points is thinned out; nobody sees the difference."""
COLORS = ("#b4471f", "#2f6f9f", "#4f8a3c", "#8a5aa8", "#c08a1e", "#3d9a93", "#a83f6b", "#6b7280")
"""Of kinds on a map; kinds beyond the last share it."""


def unit_curve(
    title: str,
    xs: NDArray[np.float64],
    ys: NDArray[np.float64],
    *,
    x_label: str,
    y_label: str,
    told: str,
    diagonal: bool = True,
    dots: bool = False,
) -> str:
    """A curve within [0, 1] x [0, 1].

    Args:
        title: what is shown.
        xs: rising.
        ys: one value each.
        x_label: along the bottom.
        y_label: along the side.
        told: the gist, for those who do not see it.
        diagonal: whether to draw where x equals y.
        dots: whether each point gets a dot.
    """
    keep: NDArray[np.int64] = (
        np.unique(np.linspace(0, len(xs) - 1, min(len(xs), MOST_POINTS)).astype(int))
        if len(xs)
        else np.zeros(0, dtype=np.int64)
    )
    points = [(_LEFT + _SIDE * x, _TOP + _SIDE * (1 - y)) for x, y in zip(xs[keep], ys[keep], strict=True)]
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _LEFT + _SIDE * tick, _TOP + _SIDE * (1 - tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _SIDE}" y1="{y:g}" y2="{y:g}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:g}" text-anchor="end">{tick:g}</text>')
        parts.append(f'<text class="tick" x="{x:g}" y="{_TOP + _SIDE + 16}" text-anchor="middle">{tick:g}</text>')
    if diagonal:
        parts.append(f'<path class="grid" d="M{_LEFT} {_TOP + _SIDE}L{_LEFT + _SIDE} {_TOP}" stroke-dasharray="4 4"/>')
    if points:
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path class="line" d="M{path}"/>')
    if dots:
        parts += [f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in points]
    middle = _LEFT + _SIDE / 2
    parts.append(
        f'<text class="tick" x="{middle}" y="{_TOP + _SIDE + 34}" text-anchor="middle">{escape(x_label)}</text>'
    )
    side = _TOP + _SIDE / 2
    parts.append(
        f'<text class="tick" x="14" y="{side}" text-anchor="middle" transform="rotate(-90 14 {side})">'
        f"{escape(y_label)}</text>"
    )
    return _svg(title, told, _LEFT + _SIDE + 90, _TOP + _SIDE + 44, parts)


def point_map(title: str, places: NDArray[np.float64], kinds: Sequence[str], names: Sequence[str]) -> str:
    """Points in a plane, the most frequent kinds in colors of their own.

    Args:
        title: what is shown.
        places: [n, 2].
        kinds: one a point, "" for none.
        names: shown where a pointer rests.
    """
    low, high = places.min(axis=0), places.max(axis=0)
    at = (places - low) / np.where(high > low, high - low, 1.0)
    found, count = np.unique([kind for kind in kinds if kind], return_counts=True)
    frequent = [str(kind) for kind in found[np.argsort(-count, kind="stable")][: len(COLORS) - 1]]
    color = dict(zip(frequent, COLORS, strict=False))
    width, height = 560, 380
    parts = []
    for (x, y), kind, name in zip(at, kinds, names, strict=True):
        parts.append(
            f'<circle cx="{12 + (width - 24) * x:.1f}" cy="{30 + (height - 40) * y:.1f}" r="2.6" fill-opacity=".7" '
            f'fill="{color.get(kind, COLORS[-1])}"><title>{escape(name)}</title></circle>'
        )
    for row, kind in enumerate([*frequent, "others"]):
        y = height + 22 + 18 * (row // 3)
        x = 14 + 182 * (row % 3)
        parts.append(f'<circle cx="{x}" cy="{y - 4}" r="5" fill="{color.get(kind, COLORS[-1])}"/>')
        parts.append(f'<text x="{x + 11}" y="{y}">{escape(kind[-26:])}</text>')
    return _svg(title, f"{len(at)} points", width, height + 34 + 18 * (len(frequent) // 3), parts)


def _svg(title: str, told: str, width: float, height: float, parts: Sequence[str]) -> str:
    alternative = escape(f"{title}: {told}", quote=True)
    return (
        f'<svg role="img" aria-label="{alternative}" viewBox="0 0 {width:g} {height:g}">'
        f'<text class="title" x="4" y="17">{escape(title)}</text>{"".join(parts)}</svg>'
    )
