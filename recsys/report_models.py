"""The models of a fit beside one another: every metric over all test users, and over new users and new items."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from recsys.report_plots import Bar, bar_plot
from recsys.report_tables import SEGMENT_LABELS, interval_of, label, number, results_html

_FAMILIES = ("recall", "ndcg", "map", "mrr", "hit", "coverage", "novelty")
_BEST_MEANS_HIGHEST = _FAMILIES[:5]


def of_test(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """A model's metrics over all test users; empty where it was not judged."""
    found: Mapping[str, Any] = result.get("test") or {}
    return found


def _part(result: Mapping[str, Any], part: str) -> Any:
    return (result.get(part) or {}).get("test") or {}


def _bars(models: Mapping[str, Any], metric: str, segment: str | None = None) -> list[Bar]:
    own = next(iter(models), None)
    bars = []
    for name, result in models.items():
        values = of_test(result) if segment is None else _part(result, "segments").get(segment) or {}
        known = _part(result, "intervals" if segment is None else "segment_intervals")
        intervals = known if segment is None else known.get(segment) or {}
        bars.append(Bar(label(name), number(values.get(metric)), interval_of(intervals, metric), own=name == own))
    return bars


def results_section(evaluation: Mapping[str, Any], k: int) -> str:
    """All models over all test users, as tables and plots; arguments as in `segments_section`."""
    models = evaluation["models"]
    rows = {name: (of_test(result), _part(result, "intervals")) for name, result in models.items()}
    plots = "".join(
        f"<figure>{bar_plot(f'{family}@{k} on test', _bars(models, f'{family}@{k}'))}</figure>"
        for family in ("recall", "ndcg")
    )
    others = [other for other in (evaluation.get("config") or {}).get("ks", ()) if other != k]
    more = "".join(
        f"<details><summary>The same at k = {int(other)}</summary>"
        f"{results_html(f'Test results at k = {int(other)}', rows, _columns(other), _marked(other))}</details>"
        for other in others
    )
    return (
        "<h2>Results</h2>"
        + results_html(f"Test results at k = {k}, with 95% intervals", rows, _columns(k), _marked(k))
        + '<p class="soft">The best value of a column is bold and shaded. Coverage and novelty have no best.</p>'
        + more
        + f'<div class="plots">{plots}</div><p class="soft">Whiskers are 95% bootstrap intervals over users.</p>'
    )


def _columns(k: int) -> list[str]:
    return [f"{family}@{k}" for family in _FAMILIES]


def _marked(k: int) -> list[str]:
    return [f"{family}@{k}" for family in _BEST_MEANS_HIGHEST]


def segments_section(evaluation: Mapping[str, Any], k: int) -> str:
    """All models over new users and over new items.

    Args:
        evaluation: what `evaluation_json` returns.
        k: the length of list the page speaks of.
    """
    models = evaluation["models"]
    if not models:
        return ""
    first = _part(next(iter(models.values())), "segments")
    figures, tables = [], []
    for segment, text in SEGMENT_LABELS.items():
        n_users = int((first.get(segment) or {}).get("n_users") or 0)
        if n_users == 0:
            tables.append(f'<p class="soft">{escape(text)}: no such users or pairs in this test.</p>')
            continue
        heading = f"{text}: recall@{k} ({n_users:,} users)"
        figures.append(f"<figure>{bar_plot(heading, _bars(models, f'recall@{k}', segment))}</figure>")
        rows = {
            name: (
                _part(result, "segments").get(segment) or {},
                _part(result, "segment_intervals").get(segment) or {},
            )
            for name, result in models.items()
        }
        table = results_html(f"{text}, k = {k}", rows, _columns(k), _marked(k))
        tables.append(f"<details><summary>{escape(text)}: all metrics</summary>{table}</details>")
    cold = (evaluation.get("config") or {}).get("cold_user_max_events")
    return (
        "<h2>New users, new items</h2>"
        f"<p>Cold users have at most {escape(str(cold))} items in training; cold items have no training event, so that "
        "only their words, picture and attributes can speak for them.</p>"
        f'<div class="plots">{"".join(figures)}</div>{"".join(tables)}'
    )
