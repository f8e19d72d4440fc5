"""Parts of a log's traffic, read from its columns: who wrote which row, kinds of visitors, segments, pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import InputError
from features.shop import cells
from recsys.replay.columns import optional

Coded = tuple[tuple[str, ...], NDArray[np.integer]]
"""Labels, and a code a row, -1 for none."""
MOST_PARTS = 64
"""Labels told apart; of more, the most frequent."""


def labels_of(column: pd.Series | None, n: int) -> Coded:
    """The values of a column: "unknown" where a cell is missing, "" throughout where the column is."""
    if column is None:
        return ("",), np.zeros(n, dtype=np.int64)
    codes, names = cells.coded_ids(column)
    return (*names, "unknown"), np.where(codes < 0, len(names), codes)


def groups_of(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Combinations of the values of some columns; of more than can be told apart, the rest are one group.

    Returns:
        labels, and a code a row, int64 [n].
    """
    if not columns:
        return ("all",), np.zeros(len(frame), dtype=np.int64)
    texts = (np.where((text := cells.texts(frame[name])) == "", "unknown", text) for name in columns)
    names = [" · ".join(row) for row in zip(*texts, strict=True)]
    common = _common(names)
    if len(set(names)) > len(common):
        common = (*common[:-1], "others")
    code = _coded(names, common)
    return common, np.where(code < 0, len(common) - 1, code)


def segments_of(
    frame: pd.DataFrame,
    item: NDArray[np.int64],
    items: Sequence[str],
    columns: Sequence[str],
    about: pd.DataFrame | None,
) -> dict[str, Coded]:
    """The values of columns of the log, or of its items.

    Args:
        frame: the log.
        item: int64 [n]; place in `items`, -1 for none.
        items: ids.
        columns: of the log or of `about`.
        about: a row an item, with item_id; None where there is no such table.

    Raises:
        InputError: a column is in neither, or `about` has no item_id.
    """
    if about is not None and "item_id" not in about.columns:
        raise InputError(f"--items must have a column item_id; it has {', '.join(map(str, about.columns))}")
    found: dict[str, Coded] = {}
    for name in columns:
        if name in frame.columns:
            texts = cells.texts(frame[name]).tolist()
        elif about is not None and name in about.columns:
            of_item = dict(zip(cells.texts(about["item_id"]).tolist(), cells.texts(about[name]).tolist(), strict=True))
            told = [*(of_item.get(one, "") for one in items), ""]
            texts = [told[place] for place in item.tolist()]
        else:
            raise InputError(f"--segment {name!r} is a column of neither the log nor --items")
        common = _common([text for text in texts if text])
        found[name] = (common, _coded(texts, common))
    return found


def visits_of(user: NDArray[np.int64], request: NDArray[np.int64]) -> dict[str, Coded]:
    """Users in the first request that the log has of them, and in later ones; nothing where nobody is known."""
    known = user >= 0
    if not known.any():
        return {}
    code = np.full(len(user), -1, dtype=np.int64)
    _, first, inverse = np.unique(user[known], return_index=True, return_inverse=True)
    code[known] = request[known] != request[known][first][inverse]
    return {"user": (("first met", "met before"), code)}


def pages_of(
    frame: pd.DataFrame, found: Mapping[str, str], campaigns: Sequence[str], campaign: NDArray[np.integer]
) -> NDArray[np.object_] | None:
    """The item whose page each slot was on; the service's logs call it the subject of what is similar."""
    if (column := optional(frame, found, "page")) is not None:
        return cells.texts(column)
    if "subject" in frame.columns and "similar" in campaigns:
        return np.where(campaign == campaigns.index("similar"), cells.texts(frame["subject"]), "")
    return None


def _common(names: Sequence[str]) -> tuple[str, ...]:
    """The most frequent names, at most `MOST_PARTS`, ties by name."""
    counts = sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(name for name, _ in counts[:MOST_PARTS])


def _coded(names: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    """Place of each name among labels, -1 for none."""
    place = {label: number for number, label in enumerate(labels)}
    return np.fromiter((place.get(name, -1) for name in names), dtype=np.int64, count=len(names))
