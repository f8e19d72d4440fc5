"""Results in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from recsys.report_tables import best_of, interval_of, label, number

_ACCURACY = ("recall", "ndcg", "map", "mrr", "hit")
_FAMILIES = (*_ACCURACY, "coverage", "novelty")
_HEADS = {"coverage": "cover", "novelty": "novel"}


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
        column: best_of({name: number(values.get(column)) for name, values in test.items()})
        for column in columns[: len(_ACCURACY)]
    }
    users = max((result["n_users"].get("test", 0) for result in models.values()), default=0)
    title = f"split {evaluation['split']}, test, {users:,} users, lists of {k}; 95% intervals of recall"
    table = Table(
        title=title,
        title_justify="left",
        caption="cold: recall of items without a training event",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    table.add_column("model", no_wrap=True)
    for family, column in zip(_FAMILIES, columns, strict=True):
        table.add_column(_HEADS.get(family, family), justify="right")
        if column == columns[0]:
            table.add_column("interval", justify="right")
    table.add_column("cold", justify="right")
    for name, values in test.items():
        interval = interval_of((models[name].get("intervals") or {}).get("test") or {}, columns[0])
        cells = [
            Text(
                _shown(number(values.get(column)), 4 if place < len(_ACCURACY) else 2),
                style="bold" if best.get(column) == name else "",
            )
            for place, column in enumerate(columns)
        ]
        known = interval is not None and math.isfinite(interval[0])
        cells.insert(
            1,
            Text(
                "-".join(f"{end:.3f}".removeprefix("0") for end in interval) if interval and known else "-", style="dim"
            ),
        )
        segments = (models[name].get("segments") or {}).get("test") or {}
        cells.append(Text(_shown(number((segments.get("cold_items") or {}).get(columns[0])), 4)))
        table.add_row(Text(label(name)), *cells)
    return table


def _shown(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"
