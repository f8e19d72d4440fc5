"""`recsys fit`: train on a shop, judge the result beside the baselines, leave a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys.commands.options import Cache


def fit(
    shop: Annotated[Path, typer.Argument(help="Shop folder; see `recsys check`.", show_default=False)],
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to leave bundle/, evaluation.json, report.html. Default: .recsys/fit/<shop>."),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            help="Table of user_id, item_id, split (train, valid or test). Without one, events are split by time "
            "where each has a time, else at random."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="One setting, such as train.epochs=20; may be repeated. The GNN is trained as set and as each of "
            "the `alternatives`, and the best on validation is kept; alternatives=[] keeps to what is set.",
            show_default=False,
        ),
    ] = None,
    ctr: Annotated[
        Path | None,
        typer.Option(
            help="Folder that `recsys log counters` left: how items do where they are shown, for the ranker.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of every random choice.")] = None,
    cache: Cache = None,
) -> None:
    """Encode, match, connect, train, evaluate: from a shop folder to a bundle that can be served.

    Interrupted, it goes on where it was; called again with nothing changed, it does nothing. Next:
    recsys publish OUT/bundle, or at once recsys serve --bundle OUT/bundle --shop SHOP.

    Several GPUs (or processes) share the training of one model under torchrun, with equal results up to rounding:
    torchrun --nproc-per-node 4 -m recsys fit SHOP
    """
    from rich.console import Console

    from recsys.config import load_config
    from recsys.console import results_table
    from recsys.fit import assist
    from recsys.fit import fit as run
    from recsys.parallel import team
    from recsys.run_folder import CACHE

    settings = load_config(config, [*(setting or []), *([] if seed is None else [f"seed={seed}"])])
    out, cache = out or Path(".recsys/fit") / shop.resolve().name, cache or CACHE
    if not team().leads:
        assist(shop, out=out, split_file=split, config=settings, cache_dir=cache)
        return
    summary = run(shop, out=out, split_file=split, config=settings, cache_dir=cache, ctr=ctr)
    console = Console(highlight=False)
    if summary.up_to_date:
        console.print(f"up to date: {summary.folder.path} was fitted with this shop, split and configuration")
    console.print(results_table(summary.evaluation))
    steps = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in summary.seconds.items())
    console.print(f"{steps}; at most {summary.peak_bytes / 2**30:.1f} GiB of memory")
    console.print(f"bundle  {summary.folder.bundle}\nreport  {summary.folder.report}")
