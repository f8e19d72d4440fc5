"""`recsys evaluate`: judge a fitted bundle again, beside the baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys.commands.options import Cache


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Where recsys fit left its bundle (its --out).", show_default=False)],
    *,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="One setting of the evaluation or the baselines, such as evaluation.ks=[5,10]; may be repeated.",
            show_default=False,
        ),
    ] = None,
    cache: Cache = None,
) -> None:
    """Rank the whole catalog for every held-out user with the bundle's embeddings and with every baseline.

    Reads the same shop and split as the fit did, writes FOLDER/evaluation.json and FOLDER/report.html anew, and prints
    the table. recsys fit does this once by itself.
    """
    from rich.console import Console

    from recsys.console import results_table
    from recsys.evaluate_run import evaluate_run
    from recsys.run_folder import CACHE, RunFolder

    run = RunFolder(folder)
    evaluation = evaluate_run(run, setting or [], cache_dir=cache or CACHE)
    console = Console(highlight=False)
    console.print(results_table(evaluation))
    console.print(f"report  {run.report}")
