"""Learning curves: validation recall@20 of trained models by epoch, beside a model in closed form, and drawn.

    .venv/bin/python benchmarks/bench_curves.py --data ../shared/data/ml1m-posters --split split-warm.parquet \
        --models gnn,denoiser_side --set gnn.train.temperature=0.15 --svg docs/images/curves-warm.svg
    .venv/bin/python benchmarks/bench_curves.py --data ../shared/data/gowalla --valid last --models gnn --rival spectral
    .venv/bin/python benchmarks/bench_curves.py --runs OUT --svg curves.svg      # what `recsys bench --out OUT` tried

With `--runs` nothing is fitted: drawn is the best trial of each model that was tuned, beside the rival's final fit.
Printed is each one's best recall over the rival's. Test is not looked at.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import get_args
from xml.sax.saxutils import escape

import orjson
from figures import keep, takes_json
from log_plot import BOTTOM, COLORS, HEIGHT, LEFT, RIGHT, TOP, WIDTH

from features.quarantine import Quarantine
from recsys.bench.read import read_task
from recsys.bench.run import CHOSEN_BY
from recsys.bench.settings import model_settings
from recsys.bench.task import Valid
from recsys.evaluation import evaluate
from recsys.models.model import Job, changed
from recsys.models.registry import named
from recsys.report_plots import nice_ticks
from recsys.run_folder import CACHE
from recsys.trainer import RECALL, Entry

Line = Sequence[tuple[float, float]]


def main() -> None:
    """Fit each model once under seed 0, listening to its looks at validation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="any folder that `recsys bench` reads")
    source.add_argument("--runs", type=Path, metavar="OUT", help="the folder of a comparison, whose trials are drawn")
    parser.add_argument("--split", help="of a shop: file name in its folder")
    parser.add_argument("--valid", choices=get_args(Valid), default="own", help="as for `recsys bench`")
    parser.add_argument("--models", default="gnn,denoiser_side", help="trained models, joined by commas")
    parser.add_argument("--rival", default="ease_side", help="the model in closed form")
    parser.add_argument("--set", action="append", default=[], help="as for `recsys bench`", metavar="MODEL.FIELD=VALUE")
    parser.add_argument("--svg", type=Path, help="where to draw")
    takes_json(parser)
    given = parser.parse_args()
    if given.runs is None:
        title, level, lines = fitted_lines(given)
    else:
        title, level, lines = kept_lines(given.runs, given.rival)
    reached = {name: max((recall for _, recall in looks), default=level) for name, looks in lines.items()}
    ratios = {name: recall / level for name, recall in reached.items()}
    keep(given, {"dataset": title, "rival_recall": level, "looks": dict(lines), "best_over_rival": ratios})
    if given.svg is not None:
        last = max((epoch for looks in lines.values() for epoch, _ in looks), default=1.0)
        lines[given.rival] = [(0.0, level), (last, level)]
        curves_plot(given.svg, f"{title}: recall@20 on validation", lines)


def fitted_lines(given: argparse.Namespace) -> tuple[str, float, dict[str, Line]]:
    """The data set's name, what the rival reaches, and model → (epoch, recall) of each look, from new fits."""
    task = read_task(
        given.data,
        split_file=given.data / given.split if given.split else None,
        refit=None,
        cache_dir=CACHE,
        quarantine=Quarantine(),
        valid=given.valid,
    )
    settings = model_settings(given.set)
    lines: dict[str, Line] = {}
    level = float("nan")
    for model in named([given.rival, *given.models.split(",")]):
        looks: list[tuple[float, float]] = []
        started = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            job = Job(0, Path(folder), partial(_note, looks))
            config = changed(model.config, settings.get(model.name, {}))
            scorer = model.fit(task.split, task.known, config, job)
        reached = evaluate(scorer, task.split, on="valid", config=CHOSEN_BY).metrics["recall@20"]
        level = reached if model.name == given.rival else level
        seconds = time.process_time() - started
        tell(model.name, f"{reached:.4f}, {reached / level:.3f} x {given.rival}; {seconds:.0f} s of CPU", looks)
        lines[model.name] = looks
    return task.name, level, lines


def kept_lines(out: Path, rival: str) -> tuple[str, float, dict[str, Line]]:
    """The same from what a comparison left under `out`.

    Raises:
        SystemExit: there is no final fit of the rival, or no trial with looks.
    """
    told = [orjson.loads(path.read_bytes()) for path in sorted((out / "runs").glob("*.json"))]
    levels = [one["valid"]["recall@20"] for one in told if one["model"] == rival and one["test"]]
    trials = [one for one in told if one["looks"]]
    if not levels or not trials:
        raise SystemExit(f"{out} must hold a final fit of {rival} and a tuned model, it has {len(told)} results")
    lines: dict[str, Line] = {}
    for trial in sorted(trials, key=lambda one: one["valid"]["recall@20"], reverse=True):
        if trial["model"] not in lines:
            looks = lines[trial["model"]] = [(float(epoch), float(recall)) for epoch, recall in trial["looks"]]
            reached, tried = trial["valid"]["recall@20"], sum(one["model"] == trial["model"] for one in trials)
            tell(trial["model"], f"{reached:.4f}, {reached / levels[0]:.3f} x {rival}; the best of {tried}", looks)
    return orjson.loads((out / "bench.json").read_bytes())["dataset"], levels[0], lines


def tell(name: str, how: str, looks: Line) -> None:
    """One model's best, and its looks."""
    print(f"{name:14} recall@20 {how}")
    print(" ".join(f"{epoch:.0f}:{recall:.4f}" for epoch, recall in looks), flush=True)


def _note(looks: list[tuple[float, float]], entry: Entry) -> None:
    looks.append((entry["epoch"], entry[RECALL]))


def curves_plot(path: Path, title: str, lines: Mapping[str, Line], *, over: str = "epoch") -> None:
    """Draw lines of recall, as SVG.

    Args:
        path: the file.
        title: above the plot.
        lines: name → points (epoch, recall).
        over: what is counted below the plot.
    """
    last, top = (max(point[axis] for line in lines.values() for point in line) for axis in (0, 1))
    across, up = nice_ticks(last), nice_ticks(top, about=6)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + x / last * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y / top * (HEIGHT - BOTTOM - TOP),
        )

    parts = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>']
    for tick in up:
        left, y = place(0, tick)
        parts.append(f'<path d="M{left:.1f} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in across:
        x, bottom = place(tick, 0)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{over}</text>')
    ends = sorted(((place(*line[-1])[1], name) for name, line in lines.items()), reverse=True)
    height = float(HEIGHT)
    written: dict[str, float] = {}
    for y, name in ends:
        height = min(y, height - 14)  # names of lines that end close together stand one above the other
        written[name] = height
    for number, (name, line) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="2"/>')
        at = place(*line[-1])[0] + 6
        parts.append(f'<text x="{at:.1f}" y="{written[name] + 4:.1f}" fill="{color}">{escape(name)}</text>')
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    main()
