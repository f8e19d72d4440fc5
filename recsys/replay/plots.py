"""Plots of a replay as inline SVG, in the style of `recsys.report_plots`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from recsys.report_plots import WIDTH, nice_ticks, spoken, svg

_LABEL, _VALUE, _ROW, _TOP = 156, 62, 26, 34


@dataclass(frozen=True)
class Whisker:
    """A value with its interval; NaN: "n/a"."""

    label: str
    value: float
    low: float
    high: float
    own: bool = False


def whisker_plot(title: str, rows: Sequence[Whisker], *, reference: float, reference_label: str) -> str:
    """Values as dots with intervals, one below the other, and a line to hold them against.

    Args:
        title: what is shown.
        rows: from top to bottom.
        reference: where the line is; NaN leaves it out.
        reference_label: what it is.
    """
    ends = [end for row in rows for end in (row.value, row.low, row.high)] + [reference]
    finite = [end for end in ends if math.isfinite(end)] or [0.0]
    low, high = min(0.0, *finite), max(0.0, *finite)
    ticks = nice_ticks(high, low=low) if high > low else [low]
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    left, right = _LABEL, WIDTH - _VALUE
    bottom = _TOP + _ROW * len(rows)

    def x_of(value: float) -> float:
        return left + (right - left) * (value - low) / ((high - low) or 1.0)

    parts = []
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{x_of(tick):.1f}" x2="{x_of(tick):.1f}" y1="28" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x_of(tick):.1f}" y="{bottom + 15}" text-anchor="middle">{tick:g}</text>')
    if math.isfinite(reference):
        x = x_of(reference)
        parts.append(f'<path class="whisker" stroke-dasharray="4 3" d="M{x:.1f} 28V{bottom}"/>')
        parts.append(
            f'<text class="tick" x="{WIDTH - 4}" y="17" text-anchor="end">dashed: {escape(reference_label)}</text>'
        )
    for number, row in enumerate(rows):
        y = _TOP + _ROW * (number + 0.5)
        bold = ' class="strong"' if row.own else ""
        parts.append(f'<text x="{left - 8}" y="{y + 4:g}" text-anchor="end"{bold}>{escape(_short(row.label))}</text>')
        if not math.isfinite(row.value):
            parts.append(f'<text class="tick" x="{left + 6}" y="{y + 4:g}">n/a</text>')
            continue
        if math.isfinite(row.low) and math.isfinite(row.high):
            a, b = x_of(row.low), x_of(row.high)
            parts.append(f'<path class="whisker" d="M{a:.1f} {y:g}H{b:.1f}M{a:.1f} {y - 4:g}v8M{b:.1f} {y - 4:g}v8"/>')
        kind = "own" if row.own else "other"
        parts.append(f'<circle class="{kind}" cx="{x_of(row.value):.1f}" cy="{y:g}" r="5"/>')
        parts.append(f'<text x="{WIDTH - 4}" y="{y + 4:g}" text-anchor="end"{bold}>{row.value:.4f}</text>')
    told = "; ".join(
        f"{row.label} {spoken(row.value)}, from {spoken(row.low)} to {spoken(row.high)}"
        if math.isfinite(row.value)
        else f"{row.label} n/a"
        for row in rows
    )
    return svg(title, f"{told}; {reference_label} {spoken(reference)}", bottom + 22, parts)


def weight_plot(title: str, bins: Sequence[tuple[float, int]]) -> str:
    """How many rows have which weight, on a logarithmic line; rows without any weight stand apart on the left.

    Args:
        title: what is shown.
        bins: upper end of each bin that holds rows (NaN for the open one), and its rows; the first ends at 1e-4.
    """
    left, bottom, top, right = 52, 176, 36, WIDTH - 14
    none = sum(rows for end, rows in bins if end <= 1e-4)
    shown = [(end, rows) for end, rows in bins if not end <= 1e-4]
    total = sum(rows for _, rows in bins) or 1
    place = [round(10 * math.log10(end)) if math.isfinite(end) else 61 for end, _ in shown]
    first, last = min([-10, *place]), max([10, *place])
    width = (right - left - 40) / (last - first + 1)
    limit = max([none, *(rows for _, rows in shown), 1])
    parts = []
    for tick in nice_ticks(100.0 * limit / total, about=3):
        y = bottom - (bottom - top) * tick * total / 100.0 / limit
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}%</text>')

    def bar(x: float, rows: int, wide: float, kind: str) -> None:
        height = (bottom - top) * rows / limit
        parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{bottom - height:.1f}" width="{wide:.1f}" height="{height:.1f}"/>'
        )

    bar(left + 6, none, 18, "other")
    parts.append(f'<text class="tick" x="{left + 15}" y="{bottom + 16}" text-anchor="middle">none</text>')
    for (_, rows), at in zip(shown, place, strict=True):
        bar(left + 40 + (at - first) * width, rows, max(width - 1, 1.0), "own")
    for power in range(math.ceil(first / 10), last // 10 + 1):
        x = left + 40 + (10 * power - first + 1) * width
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{10.0**power:g}</text>')
    heavy = sum(rows for end, rows in shown if not end <= 10)
    told = f"{none / total:.0%} of {total} rows have no weight, {heavy / total:.1%} weigh more than 10"
    return svg(title, told, bottom + 26, parts)


def overlap_plot(title: str, bins: Sequence[tuple[str, float, float]]) -> str:
    """How much of the policy's showings, and of the log's, falls on items that the log showed rarely or often.

    Args:
        title: what is shown.
        bins: what share of the log the items have, in words; the policy's share of such items, and the log's own.
    """
    left, right, row = 112, WIDTH - _VALUE, 34
    parts = [
        '<rect class="own" x="286" y="9" width="9" height="9"/><text class="tick" x="299" y="17">the policy</text>',
        f'<rect class="other" x="372" y="9" width="9" height="9"/><text class="tick" x="{WIDTH - 4}" y="17" '
        'text-anchor="end">as it was</text>',
    ]
    for number, (label, policy, log) in enumerate(bins):
        y = _TOP + row * number
        parts.append(f'<text x="{left - 8}" y="{y + 17}" text-anchor="end">{escape(label)}</text>')
        for share, kind, down in ((policy, "own", 2), (log, "other", 16)):
            wide = (right - left) * share
            parts.append(f'<rect class="{kind}" x="{left}" y="{y + down}" width="{wide:.1f}" height="12"/>')
            parts.append(f'<text class="tick" x="{left + wide + 6:.1f}" y="{y + down + 10}">{share:.1%}</text>')
    told = "; ".join(f"items shown {label}: policy {policy:.1%}, log {log:.1%}" for label, policy, log in bins)
    return svg(title, told, _TOP + row * len(bins) + 6, parts)


def band_plot(
    title: str, values: Sequence[float], lows: Sequence[float], highs: Sequence[float], *, reference: float
) -> str:
    """A running value within its bounds, against a dashed line.

    Args:
        title: what is shown.
        values: in order of time; NaN leaves a gap.
        lows: lower bounds.
        highs: upper bounds.
        reference: where the dashed line is; NaN leaves it out.
    """
    left, top, bottom, right = 52, 36, 176, WIDTH - 14
    finite = [value for value in (*values, reference) if math.isfinite(value)] or [0.0]
    reach = 3 * max(*finite, 1e-9)  # the first bounds are wide beyond any use
    ends = [min(max(end, -reach), reach) for end in (*lows, *highs) if math.isfinite(end)]
    low, high = min(0.0, *finite, *ends), max([*finite, *ends])
    ticks = nice_ticks(high, low=low) if high > low else [low]

    def point(number: int, value: float) -> str:
        x = left + (right - left) * number / max(len(values) - 1, 1)
        y = bottom - (bottom - top) * (min(max(value, low), high) - low) / ((high - low) or 1.0)
        return f"{x:.1f} {y:.1f}"

    parts = []
    for tick in ticks:
        y = point(0, tick).split()[1]
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    known = [number for number, end in enumerate(lows) if math.isfinite(end) and math.isfinite(highs[number])]
    if known:
        around = [point(n, highs[n]) for n in known] + [point(n, lows[n]) for n in reversed(known)]
        parts.append(f'<path class="other" opacity="0.35" d="M{"L".join(around)}Z"/>')
    if math.isfinite(reference):
        y = point(0, reference).split()[1]
        parts.append(f'<path class="whisker" stroke-dasharray="4 3" d="M{left} {y}H{right}"/>')
    path = "L".join(point(n, value) for n, value in enumerate(values) if math.isfinite(value))
    if path:
        parts.append(f'<path class="line" d="M{path}"/>')
    parts.append(f'<text class="tick" x="{left}" y="{bottom + 16}">start</text>')
    parts.append(f'<text class="tick" x="{right}" y="{bottom + 16}" text-anchor="end">end of the log</text>')
    last = len(values) - 1
    told = (
        f"at the end {spoken(values[last])}, surely between {spoken(lows[last])} and {spoken(highs[last])}"
        if values
        else "nothing to show"
    )
    return svg(title, told, bottom + 26, parts)


def _short(label: str) -> str:
    """A label that fits beside the plot; the whole of it is in the tables and the alternative text."""
    return label if len(label) <= 21 else f"{label[:8]}…{label[-11:]}"
