"""Where `recsys graph` takes its graph from: a shop folder or a saved graph, and the options that say so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from features.quarantine import Quarantine
    from features.shop.shop import Shop
    from graph.build import GraphConfig
    from graph.knowledge_graph import KnowledgeGraph
    from graph.view import View

Source = Annotated[Path, typer.Argument(help="Shop folder or saved graph.", show_default=False)]
Config = Annotated[
    Path | None, typer.Option(help="TOML file with a [graph] section, as for `recsys fit`; for shop folders.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the graph, such as graph.together=10; may come several times."),
]
Content = Annotated[
    bool,
    typer.Option(
        "--look-alikes", help="Of a shop folder: also join items of like words and pictures (encodes them first)."
    ),
]


def is_graph(source: Path) -> bool:
    """Whether a folder is a saved graph."""
    from graph.store.stored import MANIFEST

    return (source / MANIFEST).is_file()


def view_of(
    source: Path, config: Path | None, settings: list[str] | None, *, look_alikes: bool, cache: Path | None
) -> View:
    """The graph of a shop folder or of a saved one, to be looked at.

    Raises:
        InputError: settings are given with a saved graph, which has its own; or the source cannot be used.
    """
    from features.errors import InputError
    from graph.store.stored import StoredGraph
    from graph.view import View

    if is_graph(source):
        if config is not None or settings or look_alikes:
            raise InputError(f"{source} is a saved graph: settings and --look-alikes are for shop folders")
        return View.of_stored(StoredGraph.open(source))
    found, graph, _ = built(source, config, settings, look_alikes=look_alikes, cache=cache)
    return View.of(graph, {"item": found.catalog.title.tolist()})


def built(
    source: Path, config: Path | None, settings: list[str] | None, *, look_alikes: bool, cache: Path | None
) -> tuple[Shop, KnowledgeGraph, GraphConfig]:
    """The graph of a shop folder, of all its events; what was refused is told."""
    from features.pictures.fetched import FetchedImages
    from features.quarantine import Quarantine
    from features.shop.shop import read_shop
    from graph.from_shop import graph_of_shop
    from recsys.config import load_config
    from recsys.run_folder import CACHE

    chosen = load_config(config, settings or [])
    quarantine = Quarantine()
    shop = read_shop(source, quarantine=quarantine, fetched=FetchedImages.of_cache(cache or CACHE))
    near, trust, content = {}, None, None
    if look_alikes:
        from recsys.prepare import read_content

        known = read_content(shop, chosen, cache_dir=cache or CACHE, quarantine=quarantine)
        near, trust, content = known.neighbors, known.scores, known.content
    graph = graph_of_shop(
        shop,
        shop.interactions,
        near,
        chosen.graph,
        trust=trust,
        content=content,
        encoders=chosen.encoders,
        cache_dir=cache or CACHE,
        quarantine=quarantine,
    )
    tell_refused(quarantine)
    return shop, graph, chosen.graph


def tell_refused(quarantine: Quarantine) -> None:
    """One line a broken rule, on the error stream: how often, where first, and by what value."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    for rule, count in quarantine.counts.items():
        first = next(one for one in quarantine.refusals if one.rule == rule)
        place = first.file if first.row is None else f"{first.file}, row {first.row}"
        console.print(
            f"refused: {count:,} x {rule}, first {place}: {first.value}", style="yellow", soft_wrap=True, markup=False
        )
