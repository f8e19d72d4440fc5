"""How much of a picture's lettering a listing's words account for: a maker's name, an actor, the description."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from features.catalog import Catalog
from features.lettering.claims import Floats, Rows, incidence
from features.lettering.reader import Line
from features.lettering.words import grams, lettering_grams, words


class Explained:
    """The grams of lettering, weighed by their rarity, beside those of all words of a listing.

    Args:
        spelled: the lettering of each picture, [n_pictures].
        catalog: the listings; title, description and attribute values count.
    """

    def __init__(self, spelled: Sequence[Sequence[Line]], catalog: Catalog) -> None:
        number: dict[str, int] = {}
        read = incidence((lettering_grams(lines) for lines in spelled), number, grow=True)
        rarity = np.log((len(spelled) + 1) / (np.asarray(read.sum(axis=0)).ravel() + 0.5))
        self._read: sparse.csr_matrix = (read @ sparse.diags(rarity)).tocsr()
        self._known = incidence((_all_grams(text) for text in _all_words(catalog)), number, grow=False)
        self._total = np.asarray(self._read.sum(axis=1)).ravel()

    def __call__(self, pictures: Rows, listings: Rows) -> tuple[Floats, Floats]:
        """Rarity, in nats, of what is explained and of what is not, float64 [n] each."""
        explained = np.asarray(self._read[pictures].multiply(self._known[listings]).sum(axis=1)).ravel()
        return explained, np.maximum(self._total[pictures] - explained, 0.0)


def _all_words(catalog: Catalog) -> list[str]:
    texts = [[text] for text in catalog.texts()]
    for row, value in zip(catalog.attributes.row_idx.tolist(), catalog.attributes.value.tolist(), strict=True):
        texts[row].append(value)
    return [" ".join(parts) for parts in texts]


def _all_grams(text: str) -> set[str]:
    found: set[str] = set()
    for word in set(words(text)):
        found |= grams(word)
    return found
