"""The report's tables: results with intervals, segments, what was chosen, and plain counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

LABELS = {
    "gnn": "GNN",
    "random": "Random",
    "popularity": "Popularity",
    "item_knn": "Item neighbors",
    "als": "ALS",
    "bpr": "BPR",
    "content": "Content only",
}
"""Names of models for readers; others are shown as they are."""

SEGMENT_LABELS = {
    "cold_users": "Cold users",
    "cold_items": "Cold items, in the whole catalog",
    "cold_items_among_cold": "Cold items, among themselves",
}
"""Names of segments for readers."""


_WORDY = ("Chosen", "Estimator", "Remark", "Verdict")
"""Columns of words; others hold numbers."""
_BEST, _WORDS = ' class="best"', ' class="words"'


def label(name: str) -> str:
    """A model's name for readers."""
    return LABELS.get(name, name)


def number(value: Any) -> float:
    """A JSON number; null is NaN."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def interval_of(intervals: Mapping[str, Any], metric: str) -> tuple[float, float] | None:
    """A metric's interval, None where there is none."""
    ends = intervals.get(metric)
    return (number(ends[0]), number(ends[1])) if ends else None


def best_of(values: Mapping[str, float]) -> str | None:
    """The name of the highest finite value."""
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    return max(finite, key=lambda name: finite[name]) if finite else None


def results_html(
    caption: str,
    rows: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]],
    metrics: Sequence[str],
    marked: Sequence[str],
) -> str:
    """Models down, metrics across, the best of a column marked.

    Args:
        caption: the table's title.
        rows: model → (its metrics, their intervals).
        metrics: the columns, such as "recall@20".
        marked: those of which the highest value is the best.
    """
    best = {
        metric: best_of({name: number(values.get(metric)) for name, (values, _) in rows.items()}) for metric in marked
    }
    body = []
    for name, (values, intervals) in rows.items():
        cells = [
            _cell(number(values.get(metric)), interval_of(intervals, metric), best=best.get(metric) == name)
            for metric in metrics
        ]
        body.append(f'<tr><th scope="row">{escape(label(name))}</th>{"".join(cells)}</tr>')
    return table_html(caption, ["Model", *metrics], body)


def facts_html(caption: str, facts: Mapping[str, Any]) -> str:
    """Two columns: what, and its value."""
    body = [
        f'<tr><th scope="row">{escape(str(name).replace("_", " "))}</th><td>{escape(_plain(value))}</td></tr>'
        for name, value in facts.items()
    ]
    return table_html(caption, ["What", "Value"], body, kind="scroll facts")


def chosen_html(caption: str, models: Mapping[str, Mapping[str, Any]]) -> str:
    """What was chosen for each model on validation, and how long that took."""
    body = []
    for name, result in models.items():
        params = ", ".join(f"{key} {_plain(value)}" for key, value in (result.get("params") or {}).items()) or "none"
        seconds = number(result.get("fit_s"))
        spent = f"{seconds:.1f} s" if math.isfinite(seconds) else "n/a"
        cells = f'<td class="words">{escape(params)}</td><td>{spent}</td>'
        body.append(f'<tr><th scope="row">{escape(label(name))}</th>{cells}</tr>')
    return table_html(caption, ["Model", "Chosen", "Time"], body)


def _cell(value: float, interval: tuple[float, float] | None, *, best: bool) -> str:
    if not math.isfinite(value):
        return '<td class="none">n/a</td>'
    shown = f"{value:.4f}"
    if best:
        shown = f'<strong>{shown}</strong><span class="hidden"> (best)</span>'
    if interval is not None and all(map(math.isfinite, interval)):
        shown += f'<span class="interval">{interval[0]:.4f}–{interval[1]:.4f}</span>'
    return f"<td{_BEST if best else ''}>{shown}</td>"


def _plain(value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def table_html(caption: str, heads: Iterable[str], body: Sequence[str], *, kind: str = "scroll") -> str:
    """A table that scrolls sideways by itself; `body` holds whole rows of HTML."""
    head = "".join(f'<th scope="col"{_WORDS if text in _WORDY else ""}>{escape(text)}</th>' for text in heads)
    return (
        f'<div class="{kind}" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )
