"""`recsys graph`: build, look at, and hand on a shop's knowledge graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from features.shop.shop import Shop
    from graph.build import GraphConfig
    from graph.knowledge_graph import KnowledgeGraph
    from graph.view import View

app = typer.Typer(
    help="The knowledge graph: what is connected to what, by which relation, how strongly.\n\n"
    "SOURCE is a shop folder, whose graph is then built of all its events, or a graph saved by `recsys graph build`.",
    no_args_is_help=True,
)

Source = Annotated[Path, typer.Argument(help="Shop folder or saved graph.", show_default=False)]
Config = Annotated[
    Path | None, typer.Option(help="TOML file with a [graph] section, as for `recsys fit`; for shop folders.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the graph, such as graph.together=10; may come several times."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
Content = Annotated[
    bool,
    typer.Option(
        "--look-alikes", help="Of a shop folder: also join items of like words and pictures (encodes them first)."
    ),
]
Cache = Annotated[Path | None, typer.Option(help="Where vectors are kept. Default: .recsys/cache.", show_default=False)]


@app.command()
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

    found, graph, chosen = _built(shop, config, settings, look_alikes=look_alikes, cache=cache)
    labels = {"item": found.catalog.title.tolist()}
    stored = write_graph(out, graph, events=[found.interactions], config=chosen, labels=labels)
    edges = sum(one.n_edges for one in stored.relations.values())
    Console(highlight=False).print(
        f"{sum(stored.n_nodes.values()):,} nodes and {edges:,} edges in {out}", soft_wrap=True, markup=False
    )


@app.command()
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

    Users may be new, items may not. Refused rows are told at the end.
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
    refused = "; ".join(f"{count:,} refused: {rule}" for rule, count in quarantine.counts.items())
    told = f"{len(read.interactions):,} events added, {added.n_nodes['user'] - stored.n_nodes['user']:,} new users"
    Console(highlight=False).print(told + (f"; {refused}" if refused else ""), soft_wrap=True, markup=False)


@app.command()
def stats(
    source: Source,
    *,
    as_json: Json = False,
    config: Config = None,
    settings: Settings = None,
    look_alikes: Content = False,
    cache: Cache = None,
) -> None:
    """Count nodes and edges, and how many edges nodes have.

    Example: recsys graph stats SHOP --set graph.together=10 --set graph.idf=true
    """
    from graph.statistics import statistics

    view = _view(source, config, settings, look_alikes=look_alikes, cache=cache)
    told = statistics(view)
    if as_json:
        _print_json(told)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    nodes = Table(title="Nodes", title_justify="left", title_style="bold", header_style="dim")
    nodes.add_column("type", overflow="fold")
    for heading in ("nodes", "without an edge"):
        nodes.add_column(heading, justify="right")
    for kind, row in told["nodes"].items():
        nodes.add_row(Text(kind), f"{row['nodes']:,}", f"{row['isolated']:,}")
    edges = Table(
        title="Edges",
        title_justify="left",
        title_style="bold",
        header_style="dim",
        padding=0,
        caption="out, in: edges a node of the source and of the target type, mean and most; weight: mean",
        caption_justify="left",
    )
    edges.add_column("relation", no_wrap=True, overflow="fold")
    for heading in ("edges", "out", "most", "in", "most", "weight"):
        edges.add_column(heading, justify="right")
    for relation, row in told["edges"].items():
        edges.add_row(
            Text(relation),
            f"{row['edges']:,}",
            f"{row['mean_out']:.1f}",
            f"{row['max_out']:,}",
            f"{row['mean_in']:.1f}",
            f"{row['max_in']:,}",
            f"{row['mean_weight']:.3g}",
        )
    console.print(nodes)
    console.print(edges)


@app.command()
def neighbors(
    source: Source,
    node: Annotated[str, typer.Argument(help="An item's id, or TYPE/NAME as user/u7 or item:brand/Acme.")],
    *,
    relation: Annotated[str | None, typer.Option(help="Only this relation, such as has or view.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbors a relation.")] = 10,
    as_json: Json = False,
    config: Config = None,
    settings: Settings = None,
    look_alikes: Content = False,
    cache: Cache = None,
) -> None:
    """What a node is connected to, relation by relation, the heaviest edges first.

    Example: recsys graph neighbors SHOP sku-481
    """
    from graph.schema import reverse, spell

    view = _view(source, config, settings, look_alikes=look_alikes, cache=cache)
    found: dict[str, list[dict[str, Any]]] = {}
    for edge in view.neighbors(view.find(node)):
        listed = found.setdefault(spell(edge.edge_type if edge.outward else reverse(edge.edge_type)), [])
        if len(listed) < k and relation in {None, edge.edge_type[1]}:
            name, title = view.name(edge.node), view.title(edge.node)
            listed.append({"type": edge.node[0], "name": name, "title": title, "weight": edge.weight})
    found = {name: listed for name, listed in found.items() if listed}
    if as_json:
        _print_json(found)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not found:
        console.print(f"{node} has no edges", markup=False)
    for name, listed in found.items():
        table = Table(title=Text(name), title_justify="left", title_style="bold", header_style="dim")
        table.add_column("name", overflow="fold")
        table.add_column("title", overflow="fold")
        table.add_column("weight", justify="right")
        for one in listed:
            title = "" if one["title"] == one["name"] else one["title"]
            table.add_row(Text(one["name"]), Text(title), f"{one['weight']:.4g}")
        console.print(table)


@app.command()
def path(
    source: Source,
    start: Annotated[str, typer.Argument(help="First node, such as user/u7.")],
    end: Annotated[str, typer.Argument(help="Last node, such as an item's id.")],
    *,
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="Paths.")] = 3,
    direct: Annotated[bool, typer.Option("--direct", help="Also an edge from the one to the other.")] = False,
    as_json: Json = False,
    config: Config = None,
    settings: Settings = None,
    look_alikes: Content = False,
    cache: Cache = None,
) -> None:
    """The most telling ways from one node to another: why a user may like an item.

    An edge tells less, the more edges its two ends have; a path tells the product of its edges.

    Example: recsys graph path SHOP user/u7 sku-481
    """
    from features.errors import InputError
    from graph.paths import telling_paths

    view = _view(source, config, settings, look_alikes=look_alikes, cache=cache)
    ends = view.find(start), view.find(end)
    if ends[0] == ends[1]:
        raise InputError(f"a path needs two different nodes, got {start!r} twice")
    found = telling_paths(view, *ends, k, direct=direct)
    if as_json:
        _print_json(
            [
                {
                    "strength": one.strength,
                    "nodes": [{"type": n[0], "name": view.name(n), "title": view.title(n)} for n in one.nodes],
                    "steps": [
                        {"relation": step.edge_type[1], "forward": step.forward, "weight": step.weight}
                        for step in one.steps
                    ],
                }
                for one in found
            ]
        )
        return
    from rich.console import Console

    console = Console(highlight=False)
    if not found:
        console.print("nothing connects them", markup=False)
    for one in found:
        told = view.title(one.nodes[0])
        for step, node in zip(one.steps, one.nodes[1:], strict=True):
            arrow = f" -{step.edge_type[1]}-> " if step.forward else f" <-{step.edge_type[1]}- "
            told += arrow + view.title(node)
        console.print(f"{one.strength:.2e}  {told}", soft_wrap=True, markup=False)


@app.command()
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
            if _is_graph(source)
            else _built(source, config, settings, look_alikes=look_alikes, cache=cache)[1]
        )
        written = export_hetero(graph, out)
    else:
        view = _view(source, config, settings, look_alikes=look_alikes, cache=cache)
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


@app.command()
def picture(
    source: Source,
    node: Annotated[str, typer.Argument(help="An item's id, or TYPE/NAME.")],
    out: Annotated[Path, typer.Option(help="SVG file.", show_default=False)],
    *,
    most: Annotated[int, typer.Option(min=1, max=50, help="Neighbors of a relation that are shown.")] = 5,
    shop: Annotated[
        Path | None, typer.Option(help="Of a saved graph: shop folder with the pictures.", show_default=False)
    ] = None,
    config: Config = None,
    settings: Settings = None,
    look_alikes: Content = False,
    cache: Cache = None,
) -> None:
    """Draw what a node is connected to, with the items' pictures, as an SVG file that any browser shows.

    Example: recsys graph picture SHOP sku-481 --out sku-481.svg
    """
    from rich.console import Console

    from features.errors import InputError
    from graph.picture import neighborhood_svg
    from recsys.run_folder import write_atomically

    view = _view(source, config, settings, look_alikes=look_alikes, cache=cache)
    pictured = shop if shop is not None else (None if _is_graph(source) else source)
    svg = neighborhood_svg(view, view.find(node), _thumbnails(pictured, view), most=most)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, svg.encode())
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}") from error
    Console(highlight=False).print(f"{out}  {out.stat().st_size:,} bytes", soft_wrap=True, markup=False)


def _is_graph(source: Path) -> bool:
    from graph.store.stored import MANIFEST

    return (source / MANIFEST).is_file()


def _view(
    source: Path, config: Path | None, settings: list[str] | None, *, look_alikes: bool, cache: Path | None
) -> View:
    from features.errors import InputError
    from graph.store.stored import StoredGraph
    from graph.view import View

    if _is_graph(source):
        if config is not None or settings or look_alikes:
            raise InputError(f"{source} is a saved graph: settings and --look-alikes are for shop folders")
        return View.of_stored(StoredGraph.open(source))
    found, graph, _ = _built(source, config, settings, look_alikes=look_alikes, cache=cache)
    return View.of(graph, {"item": found.catalog.title.tolist()})


def _built(
    source: Path, config: Path | None, settings: list[str] | None, *, look_alikes: bool, cache: Path | None
) -> tuple[Shop, KnowledgeGraph, GraphConfig]:
    """The graph of a shop folder, of all its events."""
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
        shop, shop.interactions, near, chosen.graph, trust=trust, content=content, quarantine=quarantine
    )
    return shop, graph, chosen.graph


def _thumbnails(shop_dir: Path | None, view: View) -> Any:
    """The pictures of a shop's items by their rows in the graph."""
    from features.pictures.sources import UnreadableImage, decode
    from features.quarantine import Quarantine
    from features.shop.shop import read_shop

    if shop_dir is None:
        return lambda _: None
    shop = read_shop(shop_dir, quarantine=Quarantine())
    images, catalog, ids = shop.images, shop.catalog, view.vocabularies["item"]

    def thumbnail(row: int) -> Any:
        at = int(catalog.items.idxs([ids[row]])[0])
        if images is None or at < 0 or not catalog.image[at]:
            return None
        try:
            return decode(images.read(catalog.image[at]))
        except (KeyError, UnreadableImage):
            return None

    return thumbnail


def _print_json(told: object) -> None:
    import orjson

    typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
