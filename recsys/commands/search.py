"""`recsys search`: find items of a fitted shop by words and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from PIL.Image import Image

    from recsys.search.query import Examples


def search(
    folder: Annotated[
        Path,
        typer.Argument(help="A bundle, or where recsys fit left one (its --out).", show_default=False),
    ],
    words: Annotated[str, typer.Argument(help="What to look for; may be left out with a picture or --like.")] = "",
    *,
    picture: Annotated[
        Path | None, typer.Option(help="A picture file of what to look for.", show_default=False)
    ] = None,
    picture_weight: Annotated[
        float, typer.Option(min=0, max=1, help="How much the picture counts beside the words.")
    ] = 0.5,
    like: Annotated[
        list[str] | None, typer.Option(help="An item to be near to; may be repeated.", show_default=False)
    ] = None,
    unlike: Annotated[
        list[str] | None, typer.Option(help="An item to be far from; may be repeated.", show_default=False)
    ] = None,
    near: Annotated[
        list[str] | None, typer.Option("--with", help="Words to be near to; may be repeated.", show_default=False)
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Words to be far from; may be repeated.", show_default=False)
    ] = None,
    like_picture: Annotated[
        list[Path] | None, typer.Option(help="A picture file to be near to; may be repeated.", show_default=False)
    ] = None,
    unlike_picture: Annotated[
        list[Path] | None, typer.Option(help="A picture file to be far from; may be repeated.", show_default=False)
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            help="attribute=value, such as color=red; repeated for one attribute: any of the values, for several: "
            "all of them.",
            show_default=False,
        ),
    ] = None,
    min_price: Annotated[float | None, typer.Option(help="At least this price.", show_default=False)] = None,
    max_price: Annotated[float | None, typer.Option(help="At most this price.", show_default=False)] = None,
    sold_out: Annotated[bool, typer.Option("--sold-out", help="Also show what cannot be bought.")] = False,
    user: Annotated[
        str | None, typer.Option(help="Order what is found by this user's taste, too.", show_default=False)
    ] = None,
    user_weight: Annotated[float, typer.Option(min=0, max=1, help="How much that taste counts.")] = 0.2,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Results at most.")] = 10,
    parts: Annotated[
        bool, typer.Option("--parts", help="Also show what each part gives to a score, which is their sum.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable: one JSON object.")] = False,
) -> None:
    """Find items by what they are called, what they mean, and what they look like.

    Words are matched letter by letter (BM25) and by meaning, against the items' texts and pictures; a picture against
    pictures and texts. Each result says why it was found. The service answers the same at POST /v1/search.
    """
    import sys

    import orjson
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from features.errors import InputError
    from recsys.bundle import Bundle
    from recsys.recommendation import UserState
    from recsys.recommender import BundleRecommender
    from recsys.search.query import SearchQuery
    from recsys.search.searcher import Searcher

    filters: dict[str, tuple[str, ...]] = {}
    for one in only or []:
        name, equals, value = one.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise InputError(f"--filter must look like attribute=value, got {one!r}")
        filters[name.strip()] = (*filters.get(name.strip(), ()), value.strip())
    within = folder / "bundle" if (folder / "bundle" / "manifest.json").is_file() else folder
    bundle = Bundle.open(within, verify=False)
    searcher = Searcher(bundle)
    query = SearchQuery(
        words=words,
        picture=None if picture is None else _opened("--picture", picture),
        picture_weight=picture_weight,
        like=_examples("--like-picture", like, near, like_picture),
        unlike=_examples("--unlike-picture", unlike, without, unlike_picture),
        filters=filters,
        min_price=min_price,
        max_price=max_price,
        available_only=not sold_out,
        k=k,
        user_vector=None if user is None else BundleRecommender(bundle).user_vector(UserState(user)),
        user_weight=user_weight,
    )
    answer = searcher.search(query)
    shown = [(bundle.display(result.item_idx), result) for result in answer.results]
    if as_json:
        results = [
            {
                "item_id": item["item_id"],
                "title": item["title"],
                "score": result.score,
                "source": result.source,
                "reasons": result.reasons,
                "parts": result.parts,
            }
            for item, result in shown
        ]
        about = {"total": answer.total, "channels": answer.channels, "warnings": answer.warnings}
        answered = {"results": results} | about
        sys.stdout.write(orjson.dumps(answered, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    console = Console(highlight=False)
    for warning in answer.warnings:
        console.print(f"note: {warning}", style="yellow", markup=False)
    if not shown:
        console.print("nothing matches; try fewer words, or fewer filters")
        return
    table = Table(
        *("item", "title", "score", *(["parts"] if parts else []), "why"), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.columns[2].justify = "right"
    for item, result in shown:
        gave = ["; ".join(f"{name} {part:+.3f}" for name, part in result.parts.items())] if parts else []
        cells = (item["item_id"], item["title"], f"{result.score:.3f}", *gave, "; ".join(result.reasons))
        table.add_row(*(Text(str(cell)) for cell in cells))
    console.print(table)
    if answer.total is not None:
        console.print(f"{answer.total:,} match")


def _examples(option: str, items: list[str] | None, words: list[str] | None, pictures: list[Path] | None) -> Examples:
    from recsys.search.query import Examples

    opened = tuple(_opened(option, picture) for picture in pictures or ())
    return Examples(items=tuple(items or ()), words=tuple(words or ()), pictures=opened)


def _opened(option: str, path: Path) -> Image:
    from features.errors import InputError
    from features.pictures.decoding import UnreadableImage, decode

    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise InputError(f"{option} {path}: cannot be read: {error}") from error
    except UnreadableImage as error:
        raise InputError(f"{option} {path} {error}") from error
