"""From the item table to a `Catalog`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.catalog import Catalog
from features.errors import InputError
from features.images import ImageSource, inside
from features.quarantine import Quarantine
from features.read_attributes import read_attributes
from features.shop_config import ShopConfig
from features.tables import as_numbers, as_text, read_table
from features.vocabulary import Vocabulary

KNOWN = ("item_id", "title", "description", "image", "price", "available")
"""Columns with a meaning of their own; every other one is an attribute."""

TRUE = {"true", "1", "yes", "y", "t", "in stock", "1.0"}
FALSE = {"false", "0", "no", "n", "f", "out of stock", "0.0"}


@dataclass(frozen=True, eq=False)
class ReadCatalog:
    """What reading the item table gave.

    Args:
        catalog: the items.
        n_rows: rows of the file.
        remote_images: items whose picture is an address on the network, which is not fetched.
        left_out: columns that are no attributes, and why.
    """

    catalog: Catalog
    n_rows: int
    remote_images: int
    left_out: dict[str, str]


def read_catalog(path: Path, config: ShopConfig, images: ImageSource | None, *, quarantine: Quarantine) -> ReadCatalog:
    """Read the items.

    A row without an id or with an id that an earlier row has is refused. An unusable price, availability or picture is
    refused as a value: the item stays. Of a list of pictures the first counts. Addresses are not fetched.

    Args:
        path: the item table.
        config: column names, paths, columns to ignore.
        images: where the pictures are, None where the shop has none.
        quarantine: takes what is refused.

    Raises:
        InputError: there is no `item_id` column, neither `title` nor `image`, or no usable item.
    """
    table = read_table(path, config.columns.items, quarantine=quarantine)
    if "item_id" not in table.columns:
        raise InputError(f"{path}: column 'item_id' is missing; there are {', '.join(table.columns) or 'none'}")
    n_rows = len(table)
    table = _with_ids(table, path.name, quarantine)
    if not len(table):
        raise InputError(
            f"{path}: a shop needs at least one usable item; all {n_rows} rows were refused"
            if n_rows
            else f"{path}: a shop needs at least one item, the table is empty"
        )
    file_rows = table.index.to_numpy()
    ids = as_text(table["item_id"])
    table = table.reset_index(drop=True)
    price = _price(table, file_rows, path.name, quarantine)
    image, remote = _images(table, file_rows, path.name, images, quarantine)
    extra = [name for name in table.columns if name not in KNOWN and name not in config.ignore]
    attributes, left_out = read_attributes(table, extra, paths=config.paths)
    catalog = Catalog(
        items=Vocabulary(tuple(ids.tolist())),
        title=_text(table, "title"),
        description=_text(table, "description"),
        image=image,
        price=price,
        available=_available(table, file_rows, path.name, quarantine),
        attributes=attributes,
    )
    return ReadCatalog(catalog, n_rows, remote, left_out)


def _with_ids(table: pd.DataFrame, file: str, quarantine: Quarantine) -> pd.DataFrame:
    ids = as_text(table["item_id"])
    missing = ids == ""
    quarantine.refuse_all(file, table.index[missing], "item_id is missing", [""] * int(missing.sum()))
    twice = pd.Series(ids).duplicated().to_numpy() & ~missing
    quarantine.refuse_all(file, table.index[twice], "item_id was there before", ids[twice].tolist())
    kept: pd.DataFrame = table.loc[~missing & ~twice]
    return kept


def _text(table: pd.DataFrame, name: str) -> NDArray[np.object_]:
    return as_text(table[name]) if name in table.columns else np.full(len(table), "", dtype=object)


def _price(table: pd.DataFrame, rows: NDArray[Any], file: str, quarantine: Quarantine) -> NDArray[np.float64]:
    if "price" not in table.columns:
        return np.full(len(table), np.nan)
    price, bad = as_numbers(table["price"])
    bad |= price < 0
    quarantine.refuse_all(file, rows[bad], "price must be a number >= 0", table["price"][bad].tolist())
    return np.where(bad, np.nan, price)


def _available(table: pd.DataFrame, rows: NDArray[Any], file: str, quarantine: Quarantine) -> NDArray[np.bool_]:
    if "available" not in table.columns:
        return np.ones(len(table), dtype=bool)
    text = np.char.lower(as_text(table["available"]).astype(str))
    no = np.isin(text, list(FALSE))
    bad = ~no & ~np.isin(text, [*TRUE, ""])
    quarantine.refuse_all(file, rows[bad], "available must be true or false", table["available"][bad].tolist())
    return ~no


def _images(
    table: pd.DataFrame, rows: NDArray[Any], file: str, images: ImageSource | None, quarantine: Quarantine
) -> tuple[NDArray[np.object_], int]:
    if "image" not in table.columns:
        return np.full(len(table), "", dtype=object), 0
    column = table["image"]
    if column.dtype == object:
        column = column.map(
            lambda cell: (cell[0] if len(cell) else None) if isinstance(cell, list | np.ndarray) else cell
        )
    named = as_text(column)
    there = images.names() if images is not None else set()
    result = named.copy()
    remote = 0
    for row, name in enumerate(named.tolist()):
        if not name or name in there:
            continue
        result[row] = ""
        if name.startswith(("http://", "https://")):
            remote += 1
        elif not inside(name):
            quarantine.refuse(file, int(rows[row]), "image path leaves the folder", name)
        elif name.removeprefix("images/") in there:
            result[row] = name.removeprefix("images/")
        else:
            quarantine.refuse(file, int(rows[row]), "image file is missing", name)
    return result, remote
