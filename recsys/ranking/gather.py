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
from recsys.recommendation import SOURCES

PERSONALIZED, MET, ALIKE, NEW = (SOURCES.index(name) for name in ("personalized", "together", "content", "fresh"))
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
    newest = history[-NEWEST:][::-1]
    by_taste = index.search(vector, taste, hidden | catalog.voiceless)[0]
    met = catalog.together(newest)[0][:, :TOGETHER]
    alike = np.concatenate([np.zeros((len(newest), 0), dtype=np.int64), *catalog.alike(newest, CONTENT)], axis=1)
    found = [
        (PERSONALIZED, by_taste, np.full(len(by_taste), -1)),
        (MET, met.ravel(), np.repeat(newest, met.shape[1])),
        (ALIKE, alike.ravel(), np.repeat(newest, alike.shape[1])),
    ]
    if len(catalog.newcomers):
        scores = dot_products(catalog.item_vectors[catalog.newcomers], vector)
        fresh = catalog.newcomers[top_k(scores, FRESH, hidden[catalog.newcomers])[0]]
        found.append((NEW, fresh, np.full(len(fresh), -1)))
    rows = np.concatenate([of for _, of, _ in found])
    source = np.repeat(np.array([name for name, _, _ in found], dtype=np.int8), [len(of) for _, of, _ in found])
    anchor = np.concatenate([of for _, _, of in found])
    shown = np.flatnonzero((rows >= 0) & ~hidden[rows])
    first = shown[np.sort(np.unique(rows[shown], return_index=True)[1])]
    return Gathered(rows[first], source[first], anchor[first])
