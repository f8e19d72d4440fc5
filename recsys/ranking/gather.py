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
TASTE = 100
"""Candidates by the user's vector."""
TOGETHER, CONTENT = 5, 3
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
    vector = np.concatenate([user, np.ones(1, dtype=np.float32)])
    newest = history[-NEWEST:][::-1]
    unheard = hidden
    if len(catalog.voiceless):
        unheard = hidden.copy()
        unheard[catalog.voiceless] = True
    by_taste = index.search(vector, taste, unheard)[0]
    met = catalog.together(newest)[0][:, :TOGETHER]
    alike = catalog.alike(newest, CONTENT)
    fresh = _NOTHING
    if len(catalog.newcomers):
        scores = dot_products(catalog.item_vectors[catalog.newcomers], vector)
        fresh = catalog.newcomers[top_k(scores, FRESH, hidden[catalog.newcomers])[0]]
    led = [met, *alike]
    rows = np.concatenate([by_taste, *(of.ravel() for of in led), fresh])
    source, anchor = np.full(len(rows), ALIKE, dtype=np.int8), np.full(len(rows), -1)
    after_taste, after_led = len(by_taste), len(rows) - len(fresh)
    source[:after_taste], source[after_taste : after_taste + met.size], source[after_led:] = PERSONALIZED, MET, NEW
    anchor[after_taste:after_led] = np.concatenate([newest.repeat(of.shape[1]) for of in led])
    shown = np.flatnonzero((rows >= 0) & ~hidden.take(rows, mode="clip"))
    first = shown[catalog.places.first(rows.take(shown))]
    return Gathered(rows[first], source[first], anchor[first])


_NOTHING = np.zeros(0, dtype=np.int64)
