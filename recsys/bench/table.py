"""The tables of a comparison: one for programs (`bench.json`), one for readers (`bench.md`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from rich import box
from rich.table import Table

from recsys.bench.summary import SHOWN, lead, metric_table
from recsys.bench.task import TOLD_LEFT_OUT, Task
from recsys.evaluation_json import plain
from recsys.run_folder import write_atomically

if TYPE_CHECKING:
    from recsys.bench.bench import BenchConfig, Outcome

JSON, MARKDOWN = "bench.json", "bench.md"


def write_tables(
    task: Task, outcomes: Sequence[Outcome], config: BenchConfig, *, out: Path, complete: bool
) -> dict[str, Any]:
    """Write both tables anew and return the content of `bench.json`."""
    out.mkdir(parents=True, exist_ok=True)
    told = bench_json(task, outcomes, config, complete=complete)
    write_atomically(out / JSON, orjson.dumps(told, option=orjson.OPT_INDENT_2))
    write_atomically(out / MARKDOWN, markdown(told).encode())
    return told


def bench_json(task: Task, outcomes: Sequence[Outcome], config: BenchConfig, *, complete: bool) -> dict[str, Any]:
    """Everything as standard JSON data; NaN becomes null.

    Returns:
        `{"dataset": name, "protocol": text, "complete": whether all models are there, "split": counts, "models": {name:
        {"summary": text, "test": {metric: {"mean", "std", "seeds", "values", "interval": [low, high]}}, "valid":
        likewise, "fit_s": mean over seeds, "cpu_s": likewise of processor time, "peak_bytes": most of any, "tuning":
        {"changes": settings that differ from the defaults, "tried": n, "seconds": s, "left_out": n}, "params": [each
        seed's own choices]}}, "failed": {name: why}, "lead": {"of": the best model on validation, "over": {model:
        {metric: [difference, low, high]}}}, "ablation": {model: {what is taken away: {"test": as above, "loss":
        {metric: [difference, low, high]}}}}}`
    """
    done = [outcome for outcome in outcomes if outcome.results]
    models = {
        outcome.model.name: {
            "summary": outcome.model.summary,
            "test": metric_table(outcome.results, "test"),
            "valid": metric_table(outcome.results, "valid"),
            "fit_s": sum(result.fit_s for result in outcome.results) / len(outcome.results),
            "cpu_s": sum(result.cpu_s for result in outcome.results) / len(outcome.results),
            "peak_bytes": max(result.peak_bytes for result in outcome.results),
            "tuning": _tuning(outcome),
            "params": [result.params for result in outcome.results],
        }
        for outcome in done
    }
    best = max(done, key=_valid_recall, default=None)
    told: dict[str, Any] = plain(
        {
            "dataset": task.name,
            "protocol": task.protocol,
            "complete": complete,
            "split": task.split.summary(),
            "asked": {"seeds": config.seeds, "trials": config.trials, "time_budget_s": config.time_budget_s},
            "models": models,
            "failed": {outcome.model.name: outcome.failure for outcome in outcomes if outcome.failure},
            "lead": {
                "of": best.model.name if best else None,
                "over": {
                    other.model.name: lead(best.results, other.results) for other in done if best and other is not best
                },
            },
            "ablation": {
                outcome.model.name: {
                    label: {"test": metric_table(less, "test"), "loss": lead(outcome.results, less)}
                    for label, less in outcome.ablated.items()
                }
                for outcome in done
                if outcome.ablated
            },
        }
    )
    return told


def _valid_recall(outcome: Outcome) -> float:
    values = [result.valid.get("recall@20") for result in outcome.results]
    return sum(-math.inf if value is None else value for value in values) / len(values)


def _tuning(outcome: Outcome) -> dict[str, Any]:
    choice = outcome.choice
    if choice is None:
        return {}
    return {
        "changes": choice.changes,
        "tried": choice.tried,
        "seconds": choice.seconds,
        "left_out": choice.left_out,
    }


def markdown(told: Mapping[str, Any]) -> str:
    """The tables for readers, models by falling test recall."""
    counts = told["split"]
    lines = [
        f"# {told['dataset']}",
        "",
        f"{counts['n_users']:,} users, {counts['n_items']:,} items; {counts['train_pairs']:,} training, "
        f"{counts['valid_pairs']:,} validation and {counts['test_pairs']:,} test pairs.",
        "",
        told["protocol"],
        "",
        "| model | recall@20 | ndcg@20 | seeds | spread of recall@20 | fit | processor | memory | settings tried |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    ordered = sorted(told["models"].items(), key=lambda one: -(_mean(one[1], SHOWN[0]) or 0.0))
    for name, model in ordered:
        recall = model["test"][SHOWN[0]]
        cut = any("stopped_by_time_budget" in params for params in model["params"])
        label = f"{name} (stopped by its time budget)" if cut else name
        lines.append(
            f"| {label} | {_with_interval(recall)} | {_with_interval(model['test'][SHOWN[1]])} | {recall['seeds']} | "
            f"{_short(recall['std'])} | {model['fit_s']:.1f} s | {model['cpu_s']:.1f} s | "
            f"{model['peak_bytes'] / 1e6:,.0f} MB | "
            f"{model['tuning'].get('tried', 0)} in {model['tuning'].get('seconds', 0.0):.0f} s |"
        )
    lines += [
        "",
        "Brackets: 95% intervals. Spread: standard deviation over the seeds. Fit: seconds of one fit with the settings "
        "chosen; processor: of its processor time (item_knn, als, bpr and content choose within it). Memory: growth of "
        "the process while it fitted.",
    ]
    if told["lead"]["over"]:
        lines += ["", f"The best on validation, {told['lead']['of']}, leads on test by:", ""]
        lines += ["| over | recall@20 | ndcg@20 |", "|---|---|---|"]
        lines += [
            f"| {name} | {_gap(gaps[SHOWN[0]])} | {_gap(gaps[SHOWN[1]])} |"
            for name, gaps in told["lead"]["over"].items()
        ]
    lines += _without_told(ordered)
    for name, why in told["failed"].items():
        lines += ["", f"{name} is left out: {why}."]
    for name, rows in told["ablation"].items():
        lines += ["", f"## What each part brings to {name}", ""]
        lines += ["| without | recall@20 | ndcg@20 | lost recall@20 | |", "|---|---|---|---|---|"]
        lines += [
            f"| {label.removeprefix('no ')} | {_short(_mean(row, SHOWN[0]))} | {_short(_mean(row, SHOWN[1]))} | "
            f"{_gap(row['loss'][SHOWN[0]])} | {_verdict(row['loss'][SHOWN[0]])} |"
            for label, row in rows.items()
        ]
        lines += ["", "The settings are those chosen with everything there; they were not searched again."]
    return "\n".join(lines) + "\n"


def _without_told(ordered: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """A table of rankings without the items that other behavior shows; none where none is told."""
    columns = [f"{metric}{TOLD_LEFT_OUT}" for metric in SHOWN]
    there = [(name, model["test"]) for name, model in ordered if columns[0] in model["test"]]
    if not there:
        return []
    rows = [f"| {name} | {' | '.join(_with_interval(test[column]) for column in columns)} |" for name, test in there]
    return ["", f"| model | {' | '.join(columns)} |", "|---|---|---|", *rows]


def _mean(model: Mapping[str, Any], metric: str) -> float | None:
    value: float | None = model["test"][metric]["mean"]
    return value


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}".replace("0.", ".", 1)


def _with_interval(values: Mapping[str, Any]) -> str:
    low, high = values["interval"]
    return f"{_short(values['mean'])} [{_short(low)}, {_short(high)}]"


def _gap(gap: Sequence[float | None]) -> str:
    value, low, high = gap
    return f"{_short(value)} [{_short(low)}, {_short(high)}]"


def _verdict(gap: Sequence[float | None]) -> str:
    """Whether taking a part away is seen in the results."""
    _, low, high = gap
    if low is None or high is None:
        return "undefined"
    if low > 0:
        return "it helps"
    return "it harms" if high < 0 else "no difference seen"


def console_table(told: Mapping[str, Any]) -> Table:
    """Recall and NDCG on test with their intervals, for the terminal, the best in bold."""
    table = Table(title=f"{told['dataset']}, test; 95% intervals", title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    for column in ("model", *SHOWN, "seeds", "fit s", "MB"):
        table.add_column(column, justify="left" if column == "model" else "right", no_wrap=True)
    ordered = sorted(told["models"].items(), key=lambda one: -(_mean(one[1], SHOWN[0]) or 0.0))
    for place, (name, model) in enumerate(ordered):
        table.add_row(
            name,
            *(_with_interval(model["test"][metric]) for metric in SHOWN),
            str(model["test"][SHOWN[0]]["seeds"]),
            f"{model['fit_s']:.1f}",
            f"{model['peak_bytes'] / 1e6:,.0f}",
            style="bold" if place == 0 else "",
        )
    return table
