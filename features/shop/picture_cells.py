"""The pictures that an item's row names: one, a list, or a list as text; here, missing, outside or elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.pictures.sources import ImageSource, inside
from features.shop import cells
from features.shop.cells import Sieve

COLUMNS = ("image", "images")
"""Read in this order: what `images` names beside `image` are further pictures of the item."""

_LISTS = (list, tuple, np.ndarray)
_ELSEWHERE = ("http://", "https://", "//")


@dataclass(frozen=True, eq=False)
class PicturesRead:
    """The pictures of each row of the item table.

    Args:
        main: object [n_rows] of str; the first that is in the image source, "" for none.
        more: [n_rows]; the others that are there, in their order and each once.
        remote: [n_rows]; the addresses elsewhere that were not fetched.
    """

    main: NDArray[np.object_]
    more: list[tuple[str, ...]]
    remote: list[tuple[str, ...]]


def read_pictures(frame: pd.DataFrame, sieve: Sieve, images: ImageSource | None) -> PicturesRead:
    """Find the pictures that the columns `image` and `images` name.

    Args:
        frame: the item table.
        sieve: takes what is missing or leaves the folder; the row is kept without it.
        images: the shop's pictures.
    """
    n = len(frame)
    main = np.full(n, "", dtype=object)
    more: list[tuple[str, ...]] = [()] * n
    remote: list[tuple[str, ...]] = [()] * n
    known = images.names() if images is not None else set()
    outside, missing = ({name: np.zeros(n, dtype=bool) for name in COLUMNS} for _ in range(2))
    columns = {name: cells.plain(frame[name]).tolist() for name in COLUMNS if name in frame.columns}
    for row in range(n):
        found: dict[str, None] = {}
        elsewhere: dict[str, None] = {}
        for column, given in columns.items():
            for name in _names(given[row]):
                if name.lower().startswith(_ELSEWHERE) and name not in known:  # unless it was fetched
                    elsewhere[name] = None
                elif (spelling := _spelling(name, known)) is not None:
                    found[spelling] = None
                else:
                    (missing if inside(name) else outside)[column][row] = True
        if found:
            main[row], *others = found
            more[row] = tuple(others)
        remote[row] = tuple(elsewhere)
    for name in columns:
        sieve.remark(outside[name], "image path leaves the folder; the item is kept without it", frame[name])
        sieve.remark(missing[name], "image file is missing; the item is kept without it", frame[name])
    return PicturesRead(main, more, remote)


def _names(cell: object) -> list[str]:
    """All pictures of a cell, however it holds them."""
    if isinstance(cell, _LISTS):
        return [name for inner in cell for name in _names(inner)]
    if isinstance(cell, str):
        text = cell.strip()
        if text.startswith("[") and text.endswith("]"):
            try:
                return _names(json.loads(text))
            except (ValueError, RecursionError):
                pass
        return [text] if text else []
    return [] if pd.isna(cell) else [str(cell)]  # type: ignore[call-overload]


def _spelling(name: str, known: set[str]) -> str | None:
    """How a file is called in the source: as it is named, or with "/" between folders, and with or without the folder
    "images"; None where it is not there or would lie outside.
    """
    if name in known:
        return name
    if not inside(name):
        return None
    plain = PurePosixPath(name.replace("\\", "/")).as_posix()
    return next((found for found in (plain, plain.removeprefix("images/"), f"images/{plain}") if found in known), None)
