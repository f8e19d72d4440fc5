"""`recsys graph build`, `add` and `export`: make a shop's knowledge graph, keep it up, hand it on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys.commands.graph_source import (
    Config,
    Content,
    Settings,
    Source,
    built,
    is_graph,
    tell_refused,
    view_of,
)
from recsys.commands.options import Cache


def build(
    shop: Annotated[Path, typer.Argument(help="Shop folder; see `recsys check`.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder of the saved graph.", show_default=False)],
    *,
    config: Config = None,
    settings: Settings = None,
    look_alikes: Content = False,
    cache: Cache = None,
) -> None:
    """Build a shop's graph and save it, to be opened at once and added to day by day.

    Next: recsys graph stats OUT, recsys graph neighbors OUT ITEM
    """
    from rich.console import Console

    from graph.store.write import write_graph

    found, graph, chosen = built(shop, config, settings, look_alikes=look_alikes, cache=cache)
    labels = {"item": found.catalog.title.tolist()}
    stored = write_graph(out, graph, events=[found.interactions], config=chosen, labels=labels)
    edges = sum(one.n_edges for one in stored.relations.values())
    Console(highlight=False).print(
        f"{sum(stored.n_nodes.values()):,} nodes and {edges:,} edges in {out}", soft_wrap=True, markup=False
    )


def add(
    graph: Annotated[Path, typer.Argument(help="Saved graph.", show_default=False)],
    events: Annotated[
        Path, typer.Argument(help="Table of the new events: interactions.parquet, .csv or .jsonl.", show_default=False)
    ],
    *,
    shop: Annotated[
        Path | None, typer.Option(help="Shop folder whose shop.toml says how events are weighed.", show_default=False)
    ] = None,
) -> None:
    """Add events, such as those of a day, to a saved graph; the same as building it anew with them.

    Users may be new, items may not. Refused rows are told, and those that the shop's rules leave out.
    """
    from rich.console import Console

    from features.quarantine import Quarantine
    from features.shop.config import ShopConfig, read_shop_config
    from features.shop.interaction_reader import read_interactions
    from graph.store.stored import StoredGraph
    from graph.store.update import add_events

    stored = StoredGraph.open(graph)
    quarantine = Quarantine()
    settings = ShopConfig() if shop is None else read_shop_config(shop)
    users = list(stored.vocabularies["user"])
    read = read_interactions(events, stored.vocabularies["item"], users, settings, quarantine=quarantine)
    added = add_events(stored, read.interactions)
    tell_refused(quarantine)
    told = [f"{len(read.interactions):,} events added", f"{added.n_nodes['user'] - stored.n_nodes['user']:,} new users"]
    told += [f"{count:,} {kind} events left out by rule" for kind, count in read.left_out.items()]
    Console(highlight=False).print(", ".join(told), soft_wrap=True, markup=False)


def export(
    source: Source,
    out: Annotated[Path, typer.Option(help="File, or folder for parquet and hetero.", show_default=False)],
    *,
    to: Annotated[
        str, typer.Option(help="parquet, graphml, ntriples, or hetero (safetensors and JSON, without pickle).")
    ] = "parquet",
    weights: Annotated[
        bool, typer.Option("--weights", help="ntriples: also tell weights, as statements about statements.")
    ] = False,
    config: Config = None,
    settings: Settings = None,
    look_alikes: Content = False,
    cache: Cache = None,
) -> None:
    """Write the graph in another format.

    hetero is read by graph.export.load_hetero(FOLDER), which gives PyTorch Geometric's HeteroData.

    Example: recsys graph export SHOP --to graphml --out shop.graphml
    """
    from rich.console import Console

    from features.errors import InputError
    from graph.export import export_graphml, export_hetero, export_ntriples, export_parquet
    from graph.store.stored import StoredGraph

    if to == "hetero":
        graph = (
            StoredGraph.open(source).load()
            if is_graph(source)
            else built(source, config, settings, look_alikes=look_alikes, cache=cache)[1]
        )
        written = export_hetero(graph, out)
    else:
        view = view_of(source, config, settings, look_alikes=look_alikes, cache=cache)
        if to == "parquet":
            written = export_parquet(view, out)
        elif to == "graphml":
            written = export_graphml(view, out)
        elif to == "ntriples":
            written = export_ntriples(view, out, weights=weights)
        else:
            raise InputError(f"--to must be parquet, graphml, ntriples or hetero, got {to!r}")
    for file in written:
        Console(highlight=False).print(f"{file}  {file.stat().st_size:,} bytes", soft_wrap=True, markup=False)
