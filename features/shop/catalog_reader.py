"""The item table as a catalog."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.catalog import Catalog
from features.errors import InputError, nearest_name
from features.pictures.sources import ImageSource
from features.quarantine import Quarantine
from features.shop import cells
from features.shop.attribute_reader import AttributeNotes, read_attributes
from features.shop.cells import Sieve
from features.shop.config import COLUMNS, ShopConfig
from features.shop.picture_cells import read_pictures
from features.shop.tables import read_table
from features.vocabulary import Vocabulary

_YES = frozenset({"true", "yes", "y", "t", "1", "1.0", "available", "in stock", "instock", "in_stock"})
_NO = frozenset({"false", "no", "n", "f", "0", "0.0", "unavailable", "out of stock", "outofstock", "out_of_stock"})


@dataclass(frozen=True, eq=False)
class CatalogRead:
    """A catalog and what is worth telling about how it was read.

    Args:
        catalog: the items.
        remote_images: item row -> addresses, of items with pictures elsewhere that were not fetched.
        notes: what became of attribute columns.
    """

    catalog: Catalog
    remote_images: dict[int, tuple[str, ...]]
    notes: AttributeNotes


def with_our_names(frame: pd.DataFrame, table: str, path: Path, config: ShopConfig) -> tuple[pd.DataFrame, list[str]]:
    """Rename a shop's columns to ours.

    Returns:
        the frame, and the columns left out because a mapped one took their name.

    Raises:
        InputError: the mapping names a column that is not there.
    """
    mapping = {theirs: ours for ours, theirs in config.columns.get(table, {}).items()}  # type: ignore[call-overload]
    for theirs, ours in mapping.items():
        if theirs not in frame.columns:
            raise InputError(
                f"shop.toml maps {ours} of {table} to the column {theirs!r}, {path} has {', '.join(frame.columns)}"
            )
    hidden = [name for name in frame.columns if name in mapping.values() and name not in mapping]
    return frame.drop(columns=hidden).rename(columns=mapping), hidden


def require(frame: pd.DataFrame, table: str, path: Path, columns: tuple[str, ...]) -> None:
    """See that a table has its columns.

    Raises:
        InputError: it has not.
    """
    there = [str(name) for name in frame.columns]
    between = [sign for sign in "\t;|" if path.suffix == ".csv" and len(there) == 1 and sign in there[0]]
    if between:
        raise InputError(f"{path} must have commas between its cells, its first line has {between[0]!r}: {there[0]!r}")
    for column in columns:
        if column not in there:
            likely = nearest_name(column, there) or "..."
            raise InputError(
                f"{path} must have a column {column!r}, it has {', '.join(there) or 'none'}; "
                f'name the column that holds it in shop.toml: [columns.{table}] {column} = "{likely}"'
            )


def read_catalog(path: Path, config: ShopConfig, images: ImageSource | None, *, quarantine: Quarantine) -> CatalogRead:
    """Read `items.*`.

    Rows without an id, or with one that was there before, are refused. Values that cannot be used (a price below 0, an
    unknown word for available, a picture that is missing or outside) are refused too, and their rows kept without them.
    Where `image` is a list, or there is a column `images`, the first picture that is there is the item's main one.

    Args:
        path: the table.
        config: of the shop.
        images: the shop's pictures.
        quarantine: takes what is refused.

    Raises:
        InputError: the table cannot be read, lacks item_id or title, or has no usable row.
    """
    before = quarantine.total
    frame = read_table(path, quarantine=quarantine)
    frame, hidden = with_our_names(frame, "items", path, config)
    require(frame, "items", path, ("item_id", "title"))
    sieve = Sieve(path.name, frame, quarantine)
    codes, ids = cells.coded_ids(frame["item_id"])
    sieve.refuse(codes < 0, "item_id is missing", frame["item_id"])
    sieve.refuse(pd.Series(codes).duplicated().to_numpy(), "item_id is there already", frame["item_id"])
    if not sieve.kept.any():
        rows = quarantine.total - before
        how = f"{rows:,} rows read, every one refused{_why(quarantine)}" if rows else "the table has no rows"
        raise InputError(f"{path} has no usable item: {how}")
    price = _price(frame, sieve)
    available = _available(frame, sieve)
    pictures = read_pictures(frame, sieve, images)
    kept = sieve.kept
    attributes, notes = read_attributes(
        frame.loc[kept, [name for name in frame.columns if name not in COLUMNS["items"]]], config.attributes
    )
    notes.left_out |= dict.fromkeys(hidden, "another column was given its name in shop.toml")
    blank = np.full(len(frame), "", dtype=object)
    catalog = Catalog(
        items=Vocabulary(tuple(ids[code] for code in codes[kept].tolist())),
        title=cells.texts(frame["title"])[kept],
        description=(cells.texts(frame["description"]) if "description" in frame.columns else blank)[kept],
        image=pictures.main[kept],
        price=price[kept],
        available=available[kept],
        attributes=attributes,
        more_images={
            row: pictures.more[at] for row, at in enumerate(np.flatnonzero(kept).tolist()) if pictures.more[at]
        },
    )
    named = (pictures.remote[row] for row in np.flatnonzero(kept))
    remote = {row: addresses for row, addresses in enumerate(named) if addresses}
    return CatalogRead(catalog, remote, notes)


def _why(quarantine: Quarantine) -> str:
    return "".join(f"; {count:,} x {rule}" for rule, count in quarantine.counts.items())


def _price(frame: pd.DataFrame, sieve: Sieve) -> NDArray[np.float64]:
    if "price" not in frame.columns:
        return np.full(len(frame), np.nan)
    price, bad = cells.numbers(frame["price"])
    bad = bad | (price < 0)
    sieve.remark(bad, "price must be a number >= 0; the item is kept without it", frame["price"])
    return np.where(bad, np.nan, price)


def _available(frame: pd.DataFrame, sieve: Sieve) -> NDArray[np.bool_]:
    if "available" not in frame.columns:
        return np.ones(len(frame), dtype=np.bool_)
    words = pd.Series(cells.texts(frame["available"])).str.lower()
    known = words.isin(_YES | _NO | {""}).to_numpy(dtype=bool)
    sieve.remark(~known, "available must be true or false; the item is kept as available", frame["available"])
    return ~words.isin(_NO).to_numpy(dtype=bool)
