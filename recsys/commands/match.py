"""`recsys match`: learn which words and pictures of a shop belong together, score listings, explain a score."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys.commands.options import Cache

app = typer.Typer(
    help="Do pictures and words belong together? Learn it from a shop, score any shop's listings, explain a score.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

LetteringOption = Annotated[
    bool,
    typer.Option(
        "--lettering",
        help="Let the scores take into account what is spelled in the pictures; reading takes some 0.3 s a picture "
        "and core, once.",
    ),
]
ModelOption = Annotated[Path, typer.Option(help="What `recsys match fit` left.", show_default=False)]


@app.command()
def fit(
    shop: Annotated[Path, typer.Argument(help="Shop folder with pictures; see `recsys check`.", show_default=False)],
    *,
    out: Annotated[
        Path, typer.Option(help="Where to leave the model, match.json and report.html.", show_default=False)
    ],
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="One setting, such as model.architecture=co_attention, model.learning=sequential or parts.residue=1; "
            "may be repeated.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Models to train and judge: mean and spread.")] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=0, help="Score every listing by a model that has not learned it, one a fold; 0: only the test."
        ),
    ] = None,
    lettering: LetteringOption = False,
    cache: Cache = None,
) -> None:
    """Train on a shop's own listings and judge on a held-out part of them.

    Leaves OUT/match.json (the test's numbers), OUT/report.html (reliability, ROC, the listings that agree least),
    OUT/scores.parquet and the model. Interrupted, it goes on where it was. Next: recsys match score SHOP --model OUT.
    """
    from rich.console import Console

    from recsys.match_config import load_match_config
    from recsys.match_fit import match_fit
    from recsys.match_tables import result_table
    from recsys.run_folder import CACHE

    given = [f"{name}={value}" for name, value in (("seeds", seeds), ("folds", folds)) if value is not None]
    given += ["lettering.enabled=true"] if lettering else []
    run = match_fit(shop, out, load_match_config(config, [*(setting or []), *given]), cache_dir=cache or CACHE)
    console = Console(highlight=False)
    console.print(result_table(run.summary))
    console.print(f"{run.summary['seconds']:.0f} s; numbers {out / 'match.json'}, report {out / 'report.html'}")


@app.command()
def score(
    shop: Annotated[Path, typer.Argument(help="Any shop folder with pictures.", show_default=False)],
    *,
    model: ModelOption,
    out: Annotated[
        Path | None, typer.Option(help="Table to write, .parquet or .csv. Default: the worst ones on the terminal.")
    ] = None,
    worst: Annotated[int, typer.Option(min=1, help="How many to show on the terminal.")] = 20,
    lettering: LetteringOption = False,
    cache: Cache = None,
) -> None:
    """Score a shop's listings: the probability that words and picture belong together, by a fitted model."""
    from rich.console import Console

    from recsys.match_score import score_shop, write_scores
    from recsys.match_tables import worst_table
    from recsys.run_folder import CACHE

    scores = score_shop(shop, model, cache_dir=cache or CACHE, lettering=lettering)
    console = Console(highlight=False)
    if out is not None:
        write_scores(scores, out)
        console.print(f"{len(scores):,} listings scored, {scores['score'].isna().sum():,} not to be judged: {out}")
    else:
        console.print(worst_table(scores, worst))


@app.command()
def explain(
    shop: Annotated[Path, typer.Argument(help="Shop folder.", show_default=False)],
    item: Annotated[str, typer.Argument(help="item_id.", show_default=False)],
    *,
    model: ModelOption,
    out: Annotated[Path, typer.Option(help="PNG to write; the data go beside it as .json.", show_default=False)],
    cache: Cache = None,
) -> None:
    """Draw over an item's picture where the model looks for each word, and which parts speak for or against a match."""
    from rich.console import Console

    from recsys.match_explain import explain_item
    from recsys.run_folder import CACHE

    told = explain_item(shop, item, model, out, cache_dir=cache or CACHE)
    Console(highlight=False).print(f"{item}: {told.score:.3f}; picture {out}, data {out.with_suffix('.json')}")
