"""Candidates for a ranker, from several sources at once; the same ones when it is trained and when it serves.

    personalized  the largest dot products with the user's vector
    together      what the same users met as the newest items of the history
    content       what looks and reads like them
    fresh         of what nobody has met yet, what is most to the user's taste

An item that several sources find belongs to the first of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.index import ItemIndex, dot_products, top_k
from recsys.ranking.features import NEWEST, Catalog, Floats, Rows
from recsys.recommendation import SOURCES, Source

TASTE = 200
"""Candidates by the user's vector."""
TOGETHER, CONTENT = 10, 5
"""Candidates an item of the history leads to, by who met both, and by each kind of content."""
FRESH = 10
"""Candidates nobody has met."""


@dataclass(frozen=True, eq=False)
class Gathered:
    """Candidates, each once.

    Args:
        rows: int64 [n].
        source: int8 [n]; places in `SOURCES`.
        anchor: int64 [n]; row of the item of the history that led to each, -1 where none did.
    """

    rows: Rows
    source: NDArray[np.int8]
    anchor: Rows


def gather(
    catalog: Catalog, index: ItemIndex, user: Floats, history: Rows, hidden: NDArray[np.bool_], *, taste: int = TASTE
) -> Gathered:
    """Candidates for a user.

    Args:
        catalog: what is known of the items.
        index: of their vectors.
        user: float32 [dim]; the user's vector.
        history: int64; rows of what the user met, newest last.
        hidden: bool [n_items]; not to be found.
        taste: candidates by the user's vector.
    """
    vector = np.append(user, np.float32(1))
    found: list[tuple[Source, Rows, Rows]] = []

    def add(source: Source, rows: Rows, anchor: int = -1) -> None:
        kept = rows[~hidden[rows]]
        found.append((source, kept, np.full(len(kept), anchor, dtype=np.int64)))

    add("personalized", index.search(vector, taste, hidden | catalog.voiceless)[0])
    newest = history[-NEWEST:][::-1].tolist()
    for item in newest:
        add("together", catalog.together(item)[0][:TOGETHER], item)
    for item in newest:
        for alike in catalog.alike(item):
            add("content", alike[:CONTENT], item)
    if len(catalog.newcomers):
        scores = dot_products(catalog.item_vectors[catalog.newcomers], vector)
        add("fresh", catalog.newcomers[top_k(scores, FRESH, hidden[catalog.newcomers])[0]])
    rows = np.concatenate([of for _, of, _ in found])
    source = np.concatenate([np.full(len(of), SOURCES.index(name), dtype=np.int8) for name, of, _ in found])
    anchor = np.concatenate([led for _, _, led in found])
    _, first = np.unique(rows, return_index=True)
    first.sort()
    return Gathered(rows[first], source[first], anchor[first])
