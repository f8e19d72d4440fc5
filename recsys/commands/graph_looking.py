"""`recsys graph stats`, `neighbors`, `path` and `picture`: look at a knowledge graph."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsys.commands.graph_source import Config, Content, Settings, Source, is_graph, view_of
from recsys.commands.options import Cache

if TYPE_CHECKING:
    from graph.view import View

Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]


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

    view = view_of(source, config, settings, look_alikes=look_alikes, cache=cache)
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
    from features.errors import InputError, nearest_name
    from graph.schema import arrow, is_mutual, reverse, spell

    view = view_of(source, config, settings, look_alikes=look_alikes, cache=cache)
    start = view.find(node)
    edges = view.neighbors(start)
    there = sorted({edge.edge_type[1] for edge in edges})
    if relation is not None and relation not in there:
        meant = nearest_name(relation, there)
        hint = "" if meant is None else f"; did you mean {meant!r}?"
        raise InputError(f"{node} has no edge of relation {relation!r}, only of {', '.join(there) or 'none'}{hint}")
    found: dict[str, list[dict[str, Any]]] = {}
    headings: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for edge in edges:
        if relation not in {None, edge.edge_type[1]}:
            continue
        key = spell(edge.edge_type if edge.outward or is_mutual(edge.edge_type) else reverse(edge.edge_type))
        headings[key] = f"{start[0]} {arrow(edge.edge_type, outward=edge.outward)} {edge.node[0]}"
        counts[key] += 1
        listed = found.setdefault(key, [])
        if len(listed) < k:
            name, title = view.name(edge.node), view.title(edge.node)
            listed.append({"type": edge.node[0], "name": name, "title": title, "weight": edge.weight})
    if as_json:
        _print_json(found)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not found:
        console.print(f"{node} has no edges", markup=False)
    for key, listed in found.items():
        shown = f"{len(listed)} of {counts[key]:,}" if len(listed) < counts[key] else f"{counts[key]:,}"
        console.print(Text(f"{headings[key]}: {shown}", style="bold"))
        table = Table(header_style="dim")
        titled = any(one["title"] != one["name"] for one in listed)
        for heading in ("name", *(["title"] if titled else [])):
            table.add_column(heading, overflow="fold")
        table.add_column("weight", justify="right")
        for one in listed:
            named = [one["name"], *(["" if one["title"] == one["name"] else one["title"]] if titled else [])]
            table.add_row(*map(Text, named), f"{one['weight']:.4g}")
        console.print(table)


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
    from graph.schema import arrow

    view = view_of(source, config, settings, look_alikes=look_alikes, cache=cache)
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
            told += f" {arrow(step.edge_type, outward=step.forward)} {view.title(node)}"
        console.print(f"{one.strength:.2e}  {told}", soft_wrap=True, markup=False)


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

    view = view_of(source, config, settings, look_alikes=look_alikes, cache=cache)
    pictured = shop if shop is not None else (None if is_graph(source) else source)
    svg = neighborhood_svg(view, view.find(node), _thumbnails(pictured, view), most=most)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, svg.encode())
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}") from error
    Console(highlight=False).print(f"{out}  {out.stat().st_size:,} bytes", soft_wrap=True, markup=False)


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
