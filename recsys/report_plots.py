"""Plots as inline SVG: they take the page's colors, light or dark, scale with it, and read out a title and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 440
_LABEL, _VALUE, _ROW = 118, 62, 26


@dataclass(frozen=True)
class Bar:
    """One bar: its label, its value (NaN: "n/a"), its interval (None: no whisker), and whether it is the own model."""

    label: str
    value: float
    interval: tuple[float, float] | None = None
    own: bool = False


def bar_plot(title: str, bars: Sequence[Bar]) -> str:
    """Horizontal bars from 0 with interval whiskers.

    Args:
        title: what is shown; also the text for those who do not see the picture, followed by the numbers.
        bars: from top to bottom.
    """
    top = max([0.0, *(_reach(bar) for bar in bars)])
    ticks = nice_ticks(top)
    limit = max(ticks[-1], top) or 1.0
    span = WIDTH - _LABEL - _VALUE
    height = 34 + _ROW * len(bars) + 22
    bottom = 30 + _ROW * len(bars)
    parts = []
    for tick in ticks:
        x = _LABEL + span * tick / limit
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="28" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{tick:g}</text>')
    for row, bar in enumerate(bars):
        y = 30 + _ROW * row
        middle = y + _ROW / 2
        parts.append(
            f'<text x="{_LABEL - 8}" y="{middle + 4}" text-anchor="end"{_bold(bar.own)}>{escape(bar.label)}</text>'
        )
        if not math.isfinite(bar.value):
            parts.append(f'<text class="tick" x="{_LABEL + 6}" y="{middle + 4}">n/a</text>')
            continue
        length = span * max(bar.value, 0) / limit
        kind = "own" if bar.own else "other"
        parts.append(f'<rect class="{kind}" x="{_LABEL}" y="{y + 4}" width="{length:.1f}" height="{_ROW - 8}" rx="2"/>')
        if bar.interval is not None and all(map(math.isfinite, bar.interval)):
            low, high = (_LABEL + span * max(end, 0) / limit for end in bar.interval)
            parts.append(
                f'<path class="whisker" d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8'
                f'M{high:.1f} {middle - 4}v8"/>'
            )
        x = WIDTH - 4
        parts.append(f'<text x="{x}" y="{middle + 4}" text-anchor="end"{_bold(bar.own)}>{bar.value:.4f}</text>')
    told = "; ".join(f"{bar.label} {spoken(bar.value)}" for bar in bars)
    return svg(title, told, height, parts)


def line_plot(title: str, xs: Sequence[float], ys: Sequence[float], *, x_label: str, mark: int | None = None) -> str:
    """A line through points; a point that is not finite leaves a gap.

    Args:
        title: what is shown.
        xs: rising, such as epochs.
        ys: one value each.
        x_label: what x counts.
        mark: the point to circle, such as the best one.
    """
    left, top, bottom, right = 52, 36, 176, WIDTH - 14
    finite = [y for y in ys if math.isfinite(y)] or [0.0]
    ticks = nice_ticks(max(finite), low=min(finite))
    low, high = min(ticks[0], *finite), max(ticks[-1], *finite)
    x_low, x_high = (min(xs), max(xs)) if len(xs) else (0.0, 1.0)

    def place(x: float, y: float) -> tuple[float, float]:
        along = (x - x_low) / ((x_high - x_low) or 1.0)
        return left + (right - left) * along, bottom - (bottom - top) * (y - low) / ((high - low) or 1.0)

    parts = []
    for tick in ticks:
        y = place(x_low, tick)[1]
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for x in dict.fromkeys((x_low, x_high)):
        parts.append(
            f'<text class="tick" x="{place(x, low)[0]:.1f}" y="{bottom + 16}" text-anchor="middle">{x:g}</text>'
        )
    parts.append(
        f'<text class="tick" x="{(left + right) / 2}" y="{bottom + 16}" text-anchor="middle">{escape(x_label)}</text>'
    )
    path, pen_down = "", False
    for x, y in zip(xs, ys, strict=True):
        if not math.isfinite(y):
            pen_down = False
            continue
        px, py = place(x, y)
        path += f"{'L' if pen_down else 'M'}{px:.1f} {py:.1f}"
        pen_down = True
    parts.append(f'<path class="line" d="{path}"/>')
    told = f"from {spoken(ys[0])} to {spoken(ys[-1])}" if len(ys) else "nothing to show"
    if mark is not None and math.isfinite(ys[mark]):
        px, py = place(xs[mark], ys[mark])
        parts.append(f'<circle class="mark" cx="{px:.1f}" cy="{py:.1f}" r="4.5"/>')
        anchor = "end" if px > WIDTH / 2 else "start"
        parts.append(f'<text x="{px:.1f}" y="{max(py - 9, 30):.1f}" text-anchor="{anchor}">{spoken(ys[mark])}</text>')
        told += f"; best {spoken(ys[mark])} at {x_label} {xs[mark]:g}"
    return svg(title, told, bottom + 26, parts)


def histogram(title: str, values: Sequence[float], *, bins: int = 20) -> str:
    """How many values of [0, 1] fall into each of equal bins; values that are not finite are not counted.

    Args:
        title: what is shown.
        values: in [0, 1].
        bins: their number.
    """
    known = [value for value in values if math.isfinite(value)]
    counts = [0] * bins
    for value in known:
        counts[min(int(value * bins), bins - 1)] += 1
    left, top, bottom, right = 52, 36, 176, WIDTH - 14
    ticks = nice_ticks(float(max(counts)))
    limit = max(ticks[-1], *counts) or 1
    parts = []
    for tick in ticks:
        y = bottom - (bottom - top) * tick / limit
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    step = (right - left) / bins
    for number, count in enumerate(counts):
        height = (bottom - top) * count / limit
        parts.append(
            f'<rect class="own" x="{left + number * step + 1:.1f}" y="{bottom - height:.1f}" width="{step - 2:.1f}" '
            f'height="{height:.1f}"/>'
        )
    for x in (0.0, 0.5, 1.0):
        place = left + (right - left) * x
        parts.append(f'<text class="tick" x="{place:.1f}" y="{bottom + 16}" text-anchor="middle">{x:g}</text>')
    below = sum(value < 0.5 for value in known)
    return svg(title, f"{len(known)} values, {below} of them below 0.5", bottom + 26, parts)


def nice_ticks(high: float, *, low: float = 0.0, about: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from at most `low` to at least just below `high`."""
    if not high > low:
        return [low, low + 1.0] if low == 0 else [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * size for size in (1, 2, 5, 10) if power * size >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _reach(bar: Bar) -> float:
    ends = [bar.value, *(bar.interval or ())]
    return max([end for end in ends if math.isfinite(end)], default=0.0)


def _bold(own: bool) -> str:
    return ' class="strong"' if own else ""


def spoken(value: float) -> str:
    """A value as a reader hears it."""
    return f"{value:.4f}" if math.isfinite(value) else "n/a"


def svg(title: str, told: str, height: float, parts: Sequence[str]) -> str:
    """The picture, with its title and, for those who do not see it, the gist."""
    alternative = escape(f"{title}: {told}", quote=True)
    return (
        f'<svg role="img" aria-label="{alternative}" viewBox="0 0 {WIDTH} {height:g}">'
        f'<text class="title" x="4" y="17">{escape(title)}</text>{"".join(parts)}</svg>'
    )
