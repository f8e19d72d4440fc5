"""`recsys bench`: compare models on one data set under one protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from recsys.commands.options import Cache

if TYPE_CHECKING:
    from rich.console import Console

    from features.quarantine import Quarantine


def bench(
    data: Annotated[
        Path,
        typer.Argument(
            help="A shop folder, a benchmark folder (interactions.* with user_idx, item_idx, split, and optional "
            "text_feat.npy, image_feat.npy, audio_feat.npy), a folder in MMRec's layout (.inter with x_label), or "
            "ratings (ratings.* with user_idx, item_idx, label 0 or 1, and optional triples.*).",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to leave bench.json, bench.md and runs/. Default: .recsys/bench/<data>."),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            help="Of a shop: table of user_id, item_id, split (train, valid or test). Without one, the `split` column "
            "of its interactions counts, or else events are split as `recsys fit` does."
        ),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            help="Names joined by commas; `recsys bench DATA --models help` lists them. Default: all but those that "
            "cannot run on the data.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Fits a model, under the seeds 0, 1, ...")] = 3,
    trials: Annotated[
        int, typer.Option(min=0, help="Settings drawn by Optuna for each model, after its defaults.")
    ] = 8,
    time_budget: Annotated[
        float,
        typer.Option(
            min=0,
            help="After so many seconds no further settings are tried for a model, and a single training stops with "
            "what it has; 0: no limit.",
        ),
    ] = 300.0,
    ablation: Annotated[
        bool,
        typer.Option(
            "--ablation",
            help="Also fit each model without each part of its knowledge: image, text, audio, match score, attributes, "
            "item graph, other behavior, and all of them.",
        ),
    ] = False,
    refit: Annotated[
        bool | None,
        typer.Option(
            "--refit/--no-refit",
            help="Fit again on training and validation pairs before test. Default: as is the data set's custom "
            "(gowalla: yes), and yes where there are no validation pairs of its own.",
            show_default=False,
        ),
    ] = None,
    valid: Annotated[
        str,
        typer.Option(
            help="Which pairs models are chosen on: `own`, the data set's validation side, or `last`, the last tenth "
            "of each user's training pairs, by time or in the order of the table, for a test side that comes after "
            "the rest."
        ),
    ] = "own",
    beside: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a shop: a type of event, such as view, that models are told beside what is to be predicted; may "
            "be repeated. Nothing of held-out pairs, of new items or of the time after training is told. Default: "
            "none, as in published comparisons.",
            show_default=False,
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A default of one model, such as lightgcn.layers=2 or gnn.train.epochs=50; may be repeated.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Fits at a time, each with its share of the cores and, where there is CUDA, all on the one GPU. "
            "Measured times and memory are then those of a busy machine.",
        ),
    ] = 1,
    cache: Cache = None,
) -> None:
    """Tune, fit and judge models alike, and write one table with intervals, times and memory.

    Settings are chosen on validation alone, test is judged once a seed. Each fit has a process of its own. Interrupted,
    it goes on where it was; what OUT/runs holds is not fitted again, whichever models or seeds are asked for next.

    A first look: recsys bench DATA --models popularity,item_knn,lightgcn --seeds 1 --trials 0

    The whole: recsys bench DATA --ablation

    On ratings of 0 and 1 models are judged by AUC, F1 and accuracy, on a random split 6 : 2 : 2 for each seed.
    """
    from rich.console import Console

    from features.errors import InputError
    from features.quarantine import Quarantine
    from features.shop.tables import find_table
    from recsys.bench.bench import BenchConfig, compare_models
    from recsys.bench.read import read_task
    from recsys.bench.settings import model_settings
    from recsys.bench.table import MARKDOWN, console_table
    from recsys.bench.task import Valid
    from recsys.models.registry import MODELS, named
    from recsys.parallel import team
    from recsys.run_folder import CACHE

    console = Console(highlight=False)
    if team().size > 1:
        raise InputError("recsys bench gives each fit a process of its own and is not to be started by torchrun")
    out = out or Path(".recsys/bench") / data.resolve().name
    if data.is_dir() and find_table(data, "ratings") is not None:
        if split is not None or ablation or refit is not None or valid != "own" or beside or setting or jobs > 1:
            raise InputError(
                f"{data} holds ratings, for which there is no --split, --ablation, --refit, --valid, --beside, --set "
                "or --jobs"
            )
        _on_ratings(data, console, models=models, seeds=seeds, out=out)
        return
    if models == "help":
        for model in MODELS.values():
            console.print(f"{model.name:14} {model.summary}", markup=False)
        return
    chosen = named([name.strip() for name in models.split(",")] if models else list(MODELS))
    config = BenchConfig(
        seeds=seeds,
        trials=trials,
        time_budget_s=time_budget or None,
        ablation=ablation,
        settings=model_settings(setting or []),
        jobs=jobs,
    )
    if valid not in get_args(Valid):
        raise InputError(f"--valid must be one of {', '.join(get_args(Valid))}, got {valid!r}")
    quarantine = Quarantine()
    task = read_task(
        data,
        split_file=split,
        refit=refit,
        cache_dir=cache or CACHE,
        quarantine=quarantine,
        valid=cast(Valid, valid),
        beside=tuple(beside or ()),
    )
    _tell_refused(quarantine, console, out)
    told = compare_models(task, chosen, config, out=out)
    console.print(console_table(told))
    for name, why in told["failed"].items():
        console.print(f"{name} is left out: {why}", style="yellow", markup=False)
    console.print(f"tables  {out / MARKDOWN}, {out / 'bench.json'}", markup=False)
    if any(MODELS[name] in chosen and not MODELS[name].needs_content for name in told["failed"]):
        raise typer.Exit(1)


def _on_ratings(data: Path, console: Console, *, models: str | None, seeds: int, out: Path) -> None:
    """Compare models of ratings."""
    from features.quarantine import Quarantine
    from recsys.bench.table import MARKDOWN
    from recsys.ctr.bench import compare_ratings
    from recsys.ctr.registry import MODELS, named
    from recsys.ctr.table import console_table

    if models == "help":
        for model in MODELS.values():
            console.print(f"{model.name:14} {model.summary}", markup=False)
        return
    chosen = named([name.strip() for name in models.split(",")] if models else list(MODELS))
    quarantine = Quarantine()
    told = compare_ratings(data, chosen, seeds=seeds, out=out, quarantine=quarantine)
    _tell_refused(quarantine, console, out)
    console.print(console_table(told))
    console.print(f"tables  {out / MARKDOWN}, {out / 'bench.json'}", markup=False)


def _tell_refused(quarantine: Quarantine, console: Console, out: Path) -> None:
    quarantine.write(out / "quarantine.jsonl")
    for rule, count in quarantine.counts.items():
        console.print(f"refused: {count} x {rule} (see {out / 'quarantine.jsonl'})", style="yellow", markup=False)
