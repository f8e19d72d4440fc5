"""Whose name is it that a picture spells? Names of listings, looked for in lettering by the letters they share.

Readers err in single letters and lose spaces, so words are compared by three letters in a row (Angell et al., 1983) and
count by their rarity in the shop's lettering (Sparck Jones, 1972): "Hunchback" says more than "love".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from features.lettering.reader import Line
from features.lettering.words import grams, lettering_grams, letters, names

LEAST_SHARED = 0.34
"""Share of a word's grams that must be read for the word to count at all."""
MISSING = 0.25
"""What a name's words that are not read take away, as a share of what they would have given."""
MOST_PER_LETTER = 1.0
"""Nats: a short word is soon misread out of nothing, however rare it is."""
CHUNK = 512
"""Pictures compared with all names at once."""

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Claims:
    """Lettering of pictures beside the names of listings.

    A name's claim on a picture, in nats: the weight of its words that are read, each as far as its grams are, less
    `MISSING` times the weight of what is not read; 0 where that is below 0. A word weighs as much as it is rare in the
    shop's lettering, at most `MOST_PER_LETTER` a letter.

    Args:
        spelled: the lettering of each picture, [n_pictures].
        titles: of the listings, [n_listings].
    """

    spelled: Sequence[Sequence[Line]]
    titles: Sequence[str]

    def own(self, pictures: Rows, listings: Rows) -> tuple[Floats, Floats]:
        """The claims of given listings on given pictures, and the share of their best name that is read.

        Both float64 [n]; 0 for a listing without a name.
        """
        name_of = sparse.csr_matrix(
            (np.ones(len(self._owner)), (self._owner, np.arange(len(self._owner)))),
            shape=(len(self.titles), len(self._owner)),
        )
        claims, shares = np.zeros(len(pictures)), np.zeros(len(pictures))
        for first in range(0, len(pictures), CHUNK):
            part = slice(first, first + CHUNK)
            found = (self._found[pictures[part]] @ self._names.T).multiply(name_of[listings[part]]).tocoo()
            claim = self._claim(found.data, found.col)
            np.maximum.at(claims, first + found.row, claim)
            np.maximum.at(shares, first + found.row, found.data / self._weight_of_name[found.col])
        return claims, shares

    def others(self, pictures: Rows, listings: Rows) -> tuple[Floats, Rows]:
        """The strongest claim of any other listing on each picture, float64 [n], and whose it is, int64 [n]; 0 and -1
        where none claims it. A listing with the same names is no other one.
        """
        claims, whose = self._strongest
        same = (whose[pictures, 0] >= 0) & self.twins(whose[pictures, 0], listings)
        place = same.astype(np.int64)
        return claims[pictures, place], whose[pictures, place]

    @cached_property
    def _strongest(self) -> tuple[Floats, Rows]:
        """The strongest claim on each picture and the strongest of another name, and whose they are.

        float64 and int64 [n_pictures, 2]; 0 and -1 where there is none.
        """
        n = len(self.spelled)
        claims, whose = np.zeros((n, 2)), np.full((n, 2), -1, dtype=np.int64)
        for first in range(0, n, CHUNK):
            found = (self._found[first : first + CHUNK] @ self._names.T).tocoo()
            claim = self._claim(found.data, found.col)
            row, owner = first + found.row, self._owner[found.col]
            for place in range(2):
                kept = (claim > 0) & ((place == 0) | ~self.twins(owner, whose[row, 0]))
                order = np.flatnonzero(kept)[np.lexsort((owner[kept], -claim[kept], row[kept]))]
                best = order[np.unique(row[order], return_index=True)[1]]
                claims[row[best], place], whose[row[best], place] = claim[best], owner[best]
        return claims, whose

    def twins(self, left: Rows, right: Rows) -> NDArray[np.bool_]:
        """Which pairs of listings go by the same names, bool [n]."""
        same: NDArray[np.bool_] = self._twin[left] == self._twin[right]
        return same

    def distinct(self, listings: Rows) -> int:
        """How many different names the listings go by."""
        return len(np.unique(self._twin[listings]))

    def _claim(self, read: Floats, name: NDArray[np.int32]) -> Floats:
        claim: Floats = np.maximum(read - MISSING * (self._weight_of_name[name] - read), 0.0)
        return claim

    @cached_property
    def _listed(self) -> list[tuple[int, list[str]]]:
        """Each name with the listing it belongs to."""
        return [(row, sorted(set(name))) for row, title in enumerate(self.titles) for name in names(title)]

    @cached_property
    def _owner(self) -> Rows:
        return np.array([row for row, _ in self._listed], dtype=np.int64)

    @cached_property
    def _twin(self) -> Rows:
        """A number for each listing, the same for those with the same names."""
        seen: dict[str, int] = {}
        keys = (repr(sorted(map(sorted, names(title)))) for title in self.titles)
        return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.int64)

    @cached_property
    def _word_number(self) -> dict[str, int]:
        seen: dict[str, int] = {}
        for _, name in self._listed:
            for word in name:
                seen.setdefault(word, len(seen))
        return seen

    @cached_property
    def _found(self) -> sparse.csr_matrix:
        """How much of each word is read in each picture, [n_pictures, n_words] in [0, 1]."""
        number: dict[str, int] = {}
        words = [grams(word) for word in self._word_number]
        of_words = incidence(words, number, grow=True)
        of_words = sparse.diags(1 / np.maximum([len(word) for word in words], 1)) @ of_words if words else of_words
        of_pictures = incidence((lettering_grams(lines) for lines in self.spelled), number, grow=False)
        found: sparse.csr_matrix = (of_pictures @ of_words.T).tocsr()
        found.data[found.data < LEAST_SHARED] = 0
        found.eliminate_zeros()
        return found

    @cached_property
    def _names(self) -> sparse.csr_matrix:
        """The weight of the words of each name, in nats, [n_names, n_words]."""
        n = len(self.spelled)
        rarity = np.log((n + 1) / (np.asarray(self._found.sum(axis=0)).ravel() + 0.5))
        weight = np.minimum(rarity, [MOST_PER_LETTER * letters(word) for word in self._word_number])
        number = dict(self._word_number)
        of_names = incidence((set(name) for _, name in self._listed), number, grow=False)
        weighed: sparse.csr_matrix = (of_names @ sparse.diags(weight)).tocsr()
        return weighed

    @cached_property
    def _weight_of_name(self) -> Floats:
        return np.asarray(self._names.sum(axis=1), dtype=np.float64).ravel()


def incidence(sets: Iterable[set[str]], number: dict[str, int], *, grow: bool) -> sparse.csr_matrix:
    """Which strings are in which set: 1 at [set, number of the string].

    Args:
        sets: of strings.
        number: string to column; taken further where a new one is met.
        grow: whether new strings get a number; otherwise they are left out.
    """
    columns: list[int] = []
    ends = [0]
    for strings in sets:
        known: Iterator[str] = iter(sorted(strings)) if grow else (one for one in sorted(strings) if one in number)
        columns.extend(number.setdefault(one, len(number)) for one in known)
        ends.append(len(columns))
    shape = (len(ends) - 1, len(number))
    return sparse.csr_matrix((np.ones(len(columns)), np.array(columns, dtype=np.int64), ends), shape=shape)
