"""`recsys synth`: make a shop whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to make; a complete shop of the same arguments is left alone.")],
    *,
    items: Annotated[int, typer.Option(help="Number of products, 200 to 1,000,000; more without pictures.")] = 800,
    users: Annotated[
        int | None, typer.Option(help="Number of users; by default 15 for 8 products, at most 50,000.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same shop, byte for byte.")] = 0,
    pictures: Annotated[bool, typer.Option(help="Draw product pictures (about 15 milliseconds each).")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a synthetic shop that is there already.")] = False,
) -> None:
    """Make a synthetic shop: pictures, words, attributes and behavior with a planted truth.

    Users like categories, colors, patterns, brands, materials and price levels. Patterns show only in the pictures,
    usages only in the words, and 5% of the listings carry another product's picture. What was planted is saved in
    OUT/truth, so that what a model finds can be checked. An interrupted run goes on where it was.

    Next: recsys check OUT
    """
    from rich.console import Console

    from features.synthetic.write import write_shop

    console = Console()
    written = write_shop(out, n_items=items, n_users=users, seed=seed, pictures=pictures, force=force)
    if not written:
        console.print(f"{out} is already there, complete and made with these arguments: nothing to do.", soft_wrap=True)
    console.print(_summary(out))
    console.print(f"Next: recsys check {out}", soft_wrap=True, highlight=False)


def _summary(out: Path) -> object:
    """A table of what the folder holds, counted from its files."""
    import json

    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from rich.table import Table

    truth = json.loads((out / "truth" / "truth.json").read_text())
    events = pq.read_table(out / "interactions.parquet", columns=["event_type"])["event_type"]
    by_type = {row["values"].as_py(): row["counts"].as_py() for row in pc.value_counts(events)}
    images = out / "images.zip"
    table = Table("What", "How many", title=str(out), title_justify="left")
    for what, count in (
        ("items", f"{truth['request']['n_items']:,}"),
        ("pictures", f"{images.stat().st_size / 1e6:,.1f} MB" if images.exists() else "none"),
        ("users", f"{truth['request']['n_users']:,}"),
        *((f"{kind} events", f"{by_type.get(kind, 0):,}") for kind in ("view", "cart", "purchase")),
        ("listings with another product's picture", f"{len(truth['mismatched']):,}"),
        ("cold items, listed in the last days", f"{len(truth['cold']):,}"),
        ("sold out", f"{len(truth['sold_out']):,}"),
    ):
        table.add_row(what, count)
    return table
