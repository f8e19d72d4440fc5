"""How much of a picture's lettering a listing's words account for: a maker's name, an actor, the description."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from features.catalog import Catalog
from features.lettering.claims import Floats, Rows, incidence
from features.lettering.reader import Line
from features.lettering.words import grams, lettering_grams, words

SURE = 0.7
"""Confidence of lines that are looked at once more by themselves."""
LEAST_LETTERS = 4
"""Of a word that is hardly read by chance where another one stands."""


class Explained:
    """What is read, weighed by its rarity in the shop's lettering, beside all words of a listing, in three ways.

    By grams; by grams of sure lines alone; and by whole words that some listing uses: a reader's errors seldom are
    words, so words of the shop that this listing has not say more against it than gibberish does.

    Args:
        spelled: the lettering of each picture, [n_pictures].
        catalog: the listings; title, description and attribute values count.
    """

    def __init__(self, spelled: Sequence[Sequence[Line]], catalog: Catalog) -> None:
        sure = [[line for line in lines if line.confidence >= SURE] for lines in spelled]
        known = [set(words(text)) for text in _texts(catalog)]
        by_gram = [set().union(*map(grams, of_listing)) for of_listing in known]
        long_words = [{word for word in of_listing if len(word) >= LEAST_LETTERS} for of_listing in known]
        self._ways = (
            _read_first([lettering_grams(lines) for lines in spelled], by_gram),
            _read_first([lettering_grams(lines) for lines in sure], by_gram),
            _known_first([{word for line in lines for word in words(line.text)} for lines in spelled], long_words),
        )

    def __call__(self, pictures: Rows, listings: Rows) -> list[Floats]:
        """Rarity, in nats, of what is explained and of what is not, three times over; float64 [n] each."""
        columns = []
        for read, known in self._ways:
            of_picture = read[pictures]
            explained = np.asarray(of_picture.multiply(known[listings]).sum(axis=1), dtype=np.float64).ravel()
            total = np.asarray(of_picture.sum(axis=1), dtype=np.float64).ravel()
            columns += [explained, np.maximum(total - explained, 0.0)]
        return columns


def _read_first(read: list[set[str]], known: list[set[str]]) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """The rarity of all that is read, [n_pictures, n_strings], and which listings know it, [n_listings, n_strings]."""
    number: dict[str, int] = {}
    of_pictures = incidence(read, number, grow=True)
    return _by_rarity(of_pictures), incidence(known, number, grow=False)


def _known_first(read: list[set[str]], known: list[set[str]]) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """The same of what some listing knows alone; what none knows is not counted."""
    number: dict[str, int] = {}
    of_listings = incidence(known, number, grow=True)
    return _by_rarity(incidence(read, number, grow=False)), of_listings


def _by_rarity(of_pictures: sparse.csr_matrix) -> sparse.csr_matrix:
    rarity = np.log((of_pictures.shape[0] + 1) / (np.asarray(of_pictures.sum(axis=0)).ravel() + 0.5))
    weighed: sparse.csr_matrix = (of_pictures @ sparse.diags(rarity)).tocsr()
    return weighed


def _texts(catalog: Catalog) -> list[str]:
    """All words of each listing."""
    texts = [[text] for text in catalog.texts()]
    for row, value in zip(catalog.attributes.row_idx.tolist(), catalog.attributes.value.tolist(), strict=True):
        texts[row].append(value)
    return [" ".join(parts) for parts in texts]
