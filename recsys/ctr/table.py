"""The tables of a comparison on ratings: one for programs (`bench.json`), one for readers (`bench.md`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from rich import box
from rich.table import Table
from scipy.stats import t as student

from features.deviation import sample_deviation
from recsys.bench.table import JSON, MARKDOWN
from recsys.ctr.metrics import METRICS
from recsys.evaluation_json import plain
from recsys.run_folder import write_atomically

Run = Mapping[str, Any]
"""What `recsys.ctr.bench.fit_and_judge` tells of a fit."""


def write_tables(told: dict[str, Any], *, out: Path) -> None:
    """Write both tables anew."""
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / JSON, orjson.dumps(told, option=orjson.OPT_INDENT_2))
    write_atomically(out / MARKDOWN, markdown(told).encode())


def bench_json(
    dataset: str, protocol: str, counts: Mapping[str, int], results: Mapping[str, Sequence[Run]], *, complete: bool
) -> dict[str, Any]:
    """Everything as standard JSON data; NaN becomes null.

    Args:
        dataset: its name.
        protocol: how models are judged, in words.
        counts: what there is of users, items and so on.
        results: model → one run a seed.
        complete: whether all models are there.

    Returns:
        `{"dataset", "protocol", "complete", "counts", "models": {name: {"test": {metric: {"mean", "std", "seeds",
        "values", "interval": [low, high]}}, "valid": likewise, "fit_s": mean over seeds, "peak_bytes": most of any}}}`
    """
    models = {
        name: {
            **{side: {metric: _spread([run[side][metric] for run in runs]) for metric in METRICS} for side in SIDES},
            "fit_s": float(np.mean([run["fit_s"] for run in runs])),
            "peak_bytes": max(run["peak_bytes"] for run in runs),
        }
        for name, runs in results.items()
    }
    told: dict[str, Any] = plain(
        {"dataset": dataset, "protocol": protocol, "complete": complete, "counts": dict(counts), "models": models}
    )
    return told


SIDES = ("test", "valid")


def _spread(given: Sequence[float | None]) -> dict[str, Any]:
    """Mean, standard deviation over splits, and the 95% interval of the mean by Student's t.

    Splits share data, so that the interval is rather narrow.
    """
    values = np.array([np.nan if value is None else value for value in given], dtype=np.float64)
    n, mean = len(values), float(values.mean())
    std = float(sample_deviation(values))
    half = float(student.ppf(0.975, n - 1)) * std / n**0.5 if n > 1 else float("nan")
    return {"mean": mean, "std": std, "seeds": n, "values": values.tolist(), "interval": [mean - half, mean + half]}


def markdown(told: Mapping[str, Any]) -> str:
    """The table for readers, models by falling test AUC."""
    counts = ", ".join(f"{value:,} {name.removeprefix('n_')}" for name, value in told["counts"].items())
    lines = [f"# {told['dataset']}", "", f"{counts}.", "", told["protocol"], ""]
    lines += [f"| model | {' | '.join(METRICS)} | splits | fit | memory |", "|---|" + "---|" * (len(METRICS) + 3)]
    for name, model in _ordered(told):
        cells = [_cell(model["test"][metric]) for metric in METRICS]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {model['test']['auc']['seeds']} | {model['fit_s']:.1f} s | "
            f"{model['peak_bytes'] / 1e6:,.0f} MB |"
        )
    lines += ["", "±: standard deviation over the splits. Fit: seconds of one fit. Memory: growth of its process."]
    return "\n".join(lines) + "\n"


def console_table(told: Mapping[str, Any]) -> Table:
    """The same for the terminal, the best in bold."""
    table = Table(title=f"{told['dataset']}, test", title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    for column in ("model", *METRICS, "splits", "fit s", "MB"):
        table.add_column(column, justify="left" if column == "model" else "right", no_wrap=True)
    for place, (name, model) in enumerate(_ordered(told)):
        table.add_row(
            name,
            *(_cell(model["test"][metric]) for metric in METRICS),
            str(model["test"]["auc"]["seeds"]),
            f"{model['fit_s']:.1f}",
            f"{model['peak_bytes'] / 1e6:,.0f}",
            style="bold" if place == 0 else "",
        )
    return table


def _ordered(told: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(told["models"].items(), key=lambda one: -(one[1]["test"]["auc"]["mean"] or 0.0))


def _cell(values: Mapping[str, Any]) -> str:
    if values["mean"] is None:
        return "-"
    spread = "" if values["std"] is None else f" ± {values['std']:.4f}"
    return f"{values['mean']:.4f}{spread}".replace("0.", ".")
