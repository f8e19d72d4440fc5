"""Results of a match model in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

_COLUMNS = ("recall@1", "recall@5", "recall@10", "mrr", "ndcg@10")


def result_table(summary: Mapping[str, Any]) -> Table:
    """Both directions, with the spread over seeds where there are several; the rest in the caption."""
    test, spread, parts = summary["test"], summary["spread"], summary["parts"]
    several = len(summary["seeds"]) > 1
    table = Table(
        title=f"{summary['shop']}: {parts['test']:,} held-out listings, {parts['train']:,} learned from, "
        f"{len(summary['seeds'])} seed{'s' if several else ''}",
        title_justify="left",
        caption=_caption(test, spread if several else {}),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    table.add_column("search", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    rows = [("words to picture", "text_to_image", test, spread), ("picture to words", "image_to_text", test, spread)]
    if "towers_alone" in test:
        alone, alone_spread = test["towers_alone"], spread["towers_alone"]
        rows += [(f"{name}, towers alone", key, alone, alone_spread) for name, key, *_ in rows[:2]]
    for name, key, of, deviation in rows:
        table.add_row(name, *(_with_spread(of[key][column], deviation[key][column]) for column in _COLUMNS))
    return table


def worst_table(scores: pd.DataFrame, n: int) -> Table:
    """The n listings that agree least."""
    table = Table(title="listings that agree least", title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    table.add_column("score", justify="right")
    told = [name for name in ("item_id", "title", "lettering", "fits_better") if name in scores]
    for name in told:
        table.add_column(name.replace("_", " ") if name == "fits_better" else name, overflow="fold")
    for row in scores[scores["score"].notna()].sort_values("score", kind="stable").head(n).to_dict("records"):
        table.add_row(f"{row['score']:.3f}", *(Text(str(row[name])) for name in told))
    return table


def _caption(test: Mapping[str, Any], spread: Mapping[str, Any]) -> str:
    told = [
        f"{name} {_with_spread(test[key], spread.get(key, math.nan))}"
        for name, key in (("mismatch AUROC", "mismatch_auroc"), ("calibration error", "calibration_error"))
    ]
    accuracy, deviation = test["accuracy"], spread.get("accuracy", {})
    told += [f"{name} from picture {_with_spread(v, deviation.get(name, math.nan))}" for name, v in accuracy.items()]
    return "\n".join(told)


def _with_spread(value: float, deviation: float) -> str:
    shown = f"{value:.4f}" if math.isfinite(value) else "-"
    return f"{value:.3f}±{deviation:.3f}" if math.isfinite(deviation) else shown
