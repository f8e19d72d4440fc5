"""`recsys vectors`: the items' vectors as a table, reduced where wanted, and what is nearest by them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from recsys.commands.options import Cache

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from features.shop.shop import Shop


def vectors(
    shop: Annotated[Path, typer.Argument(help="Shop folder; see `recsys check`.", show_default=False)],
    *,
    of: Annotated[
        Literal["image", "text", "both"], typer.Option(help="What of an item is encoded; both: one fused vector.")
    ] = "both",
    reduce: Annotated[
        Literal["pca", "learned", "pca-whitening", "zca-whitening"] | None,
        typer.Option(
            help="pca keeps most of the variance; learned is trained to keep who is near to whom (it falls back to PCA "
            "where that keeps more); whitening makes all directions vary alike.",
            show_default=False,
        ),
    ] = None,
    dim: Annotated[int | None, typer.Option(min=1, help="Dimensions that --reduce keeps.", show_default=False)] = None,
    share: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=1,
            help="Instead of --dim: as many as hold this share of the variance, such as 0.95.",
            show_default=False,
        ),
    ] = None,
    near: Annotated[
        str | None, typer.Option(help="Show the items nearest to this one, after the reduction.", show_default=False)
    ] = None,
    metric: Annotated[
        Literal["cosine", "euclidean", "manhattan"], typer.Option(help="What near means, for --near.")
    ] = "cosine",
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Items that --near shows at most.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Parquet file for item_id and vector, of the items that have one. Default: nothing is written.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of a learned reduction.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, and nothing else.")] = False,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings of encoders, as for `recsys fit`.", show_default=False)
    ] = None,
    cache: Cache = None,
) -> None:
    """Encode words and pictures for use elsewhere, in fewer dimensions where wanted, and look who is near whom.

    A reduction tells what share of the variance it holds, how many principal components would hold others, and how
    many of the items' nearest neighbors stay so. Nothing is fitted on behavior; what was encoded before is not encoded
    again.

        recsys vectors SHOP --of image --out vectors.parquet

        recsys vectors SHOP --reduce learned --dim 64 --near sku-481 --metric manhattan
    """
    import sys

    import orjson

    from features.encoders.catalog import encode_catalog
    from features.errors import InputError
    from features.pictures.fetched import FetchedImages
    from features.quarantine import Quarantine
    from features.shop.shop import read_shop
    from recsys import item_vectors
    from recsys.attributes import visible
    from recsys.config import load_config
    from recsys.run_folder import CACHE

    if reduce is None and (dim is not None or share is not None):
        raise InputError("--dim and --share say what --reduce keeps; give --reduce, such as --reduce pca")
    quarantine = Quarantine()
    found = read_shop(shop, quarantine=quarantine, fetched=FetchedImages.of_cache(cache or CACHE))
    asked = None if near is None else item_vectors.row_of(found.catalog.items, near)
    encoders = load_config(config).encoders
    encoded = visible(encode_catalog(found, encoders, cache_dir=cache or CACHE, quarantine=quarantine), of)
    has = encoded.any(axis=1)
    report: dict[str, Any] = {"of": of, "items": len(found.catalog), "with_vector": int(has.sum())}
    report |= {"dim": int(encoded.shape[1]), "refused": quarantine.total}
    if reduce is not None:
        reduced = item_vectors.reduce_vectors(encoded, reduce, dim=dim, share=share, seed=seed)
        encoded = reduced.vectors
        report["reduction"] = {
            "kind": reduced.kind,
            "dim": int(encoded.shape[1]),
            "explained_variance": round(reduced.explained, 6),
            "neighbors_kept": round(reduced.kept, 4),
            "components": {f"{held:.0%}": count for held, count in reduced.components.items()},
        }
    if asked is not None:
        nearest = item_vectors.near(encoded, asked, metric=metric, k=k)
        report["metric"] = metric
        report["near"] = [
            {
                "item_id": found.catalog.items[row],
                "title": found.catalog.title[row],
                _measured(metric): round(score if metric == "cosine" else -score, 6),
            }
            for row, score in nearest
        ]
    if out is not None:
        _write(found, encoded, out)
        report["file"] = str(out)
    if as_json:
        sys.stdout.write(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    _show(report, near)


def _measured(metric: str) -> str:
    """What a row of --near tells: a cosine is the larger the nearer, a distance the smaller."""
    return "cosine" if metric == "cosine" else "distance"


def _write(shop: Shop, vectors: NDArray[np.float32], file: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from features.errors import InputError

    rows = np.flatnonzero(vectors.any(axis=1))
    ids = pa.array([shop.catalog.items[row] for row in rows.tolist()], type=pa.string())
    flat = pa.array(vectors[rows].ravel(), type=pa.float32())
    table = pa.table({"item_id": ids, "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])})
    draft = file.with_name(f".{file.name}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, draft)
        draft.replace(file)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}; give another file with --out") from error


def _show(report: dict[str, Any], near: str | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    looked_at = {"image": "pictures", "text": "words", "both": "words and pictures"}[report["of"]]
    console.print(
        f"{report['with_vector']:,} of {report['items']:,} items have a vector of their {looked_at}, "
        f"{report['dim']:,} dimensions; {report['refused']:,} rows or pictures were refused (recsys check tells which)",
        soft_wrap=True,
    )
    if "reduction" in report:
        found = report["reduction"]
        held = ", ".join(f"{share} {count:,}" for share, count in found["components"].items())
        console.print(
            f"{found['kind']} to {found['dim']:,} dimensions: as many principal components hold "
            f"{found['explained_variance']:.1%} of the variance; {found['neighbors_kept']:.1%} of the 10 nearest items "
            f"by cosine stay so\ncomponents that hold a share of the variance: {held}",
            soft_wrap=True,
        )
    if "near" in report:
        measured = _measured(report["metric"])
        table = Table("item", "title", report["metric"], box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.columns[2].justify = "right"
        for row in report["near"]:
            table.add_row(Text(row["item_id"]), Text(row["title"]), f"{row[measured]:.4f}")
        console.print(Text(f"nearest to {near}:"), table)
    if "file" in report:
        console.print(f"vectors are in {report['file']}", soft_wrap=True, markup=False)
