"""Results in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from recsys.report_tables import best_of, interval_of, label, number

_FAMILIES = ("recall", "ndcg", "map", "mrr", "hit", "coverage", "novelty")


def results_table(evaluation: Mapping[str, Any], *, k: int | None = None) -> Table:
    """Test results of all models, the best of each accuracy metric in bold, recall with its 95% interval.

    Args:
        evaluation: what `evaluation_json` returns.
        k: list length; 20 where that was evaluated, else the middle one.
    """
    ks = list(evaluation["config"]["ks"])
    k = k if k is not None else (20 if 20 in ks else ks[len(ks) // 2])
    models = evaluation["models"]
    columns = [f"{family}@{k}" for family in _FAMILIES]
    test = {name: result.get("test") or {} for name, result in models.items()}
    best = {
        column: best_of({name: number(values.get(column)) for name, values in test.items()}) for column in columns[:5]
    }
    users = max((result["n_users"].get("test", 0) for result in models.values()), default=0)
    table = Table(title=f"Split {evaluation['split']}, test, {users:,} users", title_justify="left")
    table.add_column("model")
    for column in columns:
        table.add_column(column, justify="right")
        if column == columns[0]:
            table.add_column("95% interval", justify="right")
    cold = f"cold items {columns[0]}"
    table.add_column(cold, justify="right")
    for name, values in test.items():
        interval = interval_of((models[name].get("intervals") or {}).get("test") or {}, columns[0])
        cells = [Text(_shown(number(values.get(c))), style="bold" if best.get(c) == name else "") for c in columns]
        known = interval is not None and math.isfinite(interval[0])
        cells.insert(1, Text(f"{interval[0]:.4f}-{interval[1]:.4f}" if interval and known else "-", style="dim"))
        segments = (models[name].get("segments") or {}).get("test") or {}
        cells.append(Text(_shown(number((segments.get("cold_items") or {}).get(columns[0])))))
        table.add_row(Text(label(name)), *cells)
    return table


def _shown(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "-"
