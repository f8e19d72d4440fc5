"""The ways in which an item can answer a query, and what the examples do to each.

Words are compared with the items' words twice, letter by letter ("lexical") and by meaning ("words_to_words"), and with
their pictures in the space that the match model made for both ("words_to_pictures"); a picture likewise with pictures
and with words. Examples move a query's vector (Rocchio, 1971):

    q + a mean(to be like) - b mean(to be unlike)

where an item stands for its own vector in the channel's space. An unwanted picture of a query that has none itself, and
unwanted words likewise, have no vector to move: what is like them is put further down among what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.index import top_k
from recsys.search.bm25 import LexicalIndex
from recsys.search.config import SearchConfig
from recsys.search.encoding import Encoding
from recsys.search.query import SearchQuery
from recsys.search.spaces import Hits, Spaces
from recsys.search.terms import asked_terms

Vectors = NDArray[np.float32]

LEXICAL = "lexical"
WORDS_TO_WORDS, WORDS_TO_PICTURES = "words_to_words", "words_to_pictures"
PICTURE_TO_PICTURES, PICTURE_TO_WORDS = "picture_to_pictures", "picture_to_words"
SIDES = {
    "words": (LEXICAL, WORDS_TO_WORDS, WORDS_TO_PICTURES),
    "picture": (PICTURE_TO_PICTURES, PICTURE_TO_WORDS),
}
"""The channels of a query's words, and of its picture."""


class Channel(Protocol):
    """One way in which items answer one query."""

    def top(self, n: int, allowed: NDArray[np.bool_]) -> Hits:
        """At most n of the allowed items, best first."""
        ...

    def at(self, rows: NDArray[np.int64]) -> Vectors:
        """Scores of some items, float32 [n]; NaN where an item lacks what this channel compares."""
        ...


class LexicalChannel:
    """Items by the terms they hold; 1 = as much of each term as could be.

    Args:
        index: of the catalog.
        counts: term → how much it is asked for.
    """

    def __init__(self, index: LexicalIndex, counts: dict[str, float]) -> None:
        most = index.most(counts)
        self._scores = index.score(counts) / np.float32(most if most > 0 else 1)

    def top(self, n: int, allowed: NDArray[np.bool_]) -> Hits:
        """As `Channel.top`; only items above 0."""
        return Hits(*top_k(self._scores, n, ~allowed | (self._scores <= 0)))

    def at(self, rows: NDArray[np.int64]) -> Vectors:
        """As `Channel.at`; 0 where an item holds none of the terms."""
        return self._scores[rows]

    def matching(self, allowed: NDArray[np.bool_]) -> int:
        """How many allowed items are found at all."""
        return int(np.count_nonzero(allowed & (self._scores > 0)))


@dataclass(frozen=True, eq=False)
class _Said:
    """One side of a query as vectors of its encoder, float32 [n, d] each: the query's own, liked and disliked."""

    own: Vectors
    like: Vectors
    unlike: Vectors

    def through(self, tower: Callable[[Vectors], Vectors]) -> _Said:
        """The same in another space."""
        return _Said(*(tower(part) if len(part) else part[:, :0] for part in (self.own, self.like, self.unlike)))


class Channels:
    """Opens the channels of a query.

    Args:
        lexical: terms of the catalog.
        spaces: vectors of the catalog.
        encoding: of queries.
        config: weights of examples.
    """

    def __init__(self, lexical: LexicalIndex, spaces: Spaces, encoding: Encoding, config: SearchConfig) -> None:
        self._lexical, self._spaces, self._encoding, self._config = lexical, spaces, encoding, config

    def of(self, query: SearchQuery, like: NDArray[np.int64], unlike: NDArray[np.int64]) -> dict[str, Channel]:
        """The channels by which a query can be answered, by name.

        Args:
            query: the query.
            like: rows of the items to be like.
            unlike: rows of the items to be unlike.

        Raises:
            CannotSearch: the query has a picture, and the bundle cannot encode pictures.
        """
        return {**self._of_words(query, like, unlike), **self._of_picture(query, like, unlike)}

    def against(self, query: SearchQuery, heard: Collection[str]) -> list[Channel]:
        """How like the unwanted words or pictures items are, where no channel of the query takes these into account.

        Args:
            query: the query.
            heard: the names of its channels.

        Raises:
            CannotSearch: the bundle cannot encode them.
        """
        found: list[Channel] = []
        if query.unlike.words and not {LEXICAL, WORDS_TO_WORDS} & set(heard):
            self._encoding.require("text")
            found += self._pointed("text", self._encoding.words(list(query.unlike.words)))
        if query.unlike.pictures and PICTURE_TO_PICTURES not in heard:
            found += self._pointed("image", self._encoding.pictures(list(query.unlike.pictures)))
        return found

    def _pointed(self, space_name: str, said: Vectors) -> list[Channel]:
        """The channel of the mean of some vectors, where there is one."""
        space, mean = self._spaces.get(space_name), said.mean(axis=0)
        return [] if space is None or not mean.any() else [space.ask(mean)]

    def _of_words(self, query: SearchQuery, like: NDArray[np.int64], unlike: NDArray[np.int64]) -> dict[str, Channel]:
        typed = [query.words] if query.words.strip() else []
        texts = [*typed, *query.like.words, *query.unlike.words]
        found: dict[str, Channel] = {}
        if typed or query.like.words:
            found[LEXICAL] = LexicalChannel(self._lexical, self._counts(query))
        if not (typed or query.like.words or len(like)):
            return found
        if texts and not self._encoding.has("text"):  # the words are still found letter by letter
            return found
        vectors = self._encoding.words(texts)
        cut = np.cumsum([len(typed), len(query.like.words)])
        said = _Said(*np.split(vectors, cut))
        self._add(found, WORDS_TO_WORDS, "text", said, like=like, unlike=unlike)
        if texts and self._encoding.has_towers():
            said = said.through(lambda part: self._encoding.shared("text", part))
            self._add(found, WORDS_TO_PICTURES, "match_image", said, like=like, unlike=unlike)
        return found

    def _of_picture(self, query: SearchQuery, like: NDArray[np.int64], unlike: NDArray[np.int64]) -> dict[str, Channel]:
        own = [query.picture] if query.picture is not None else []
        pictures = [*own, *query.like.pictures, *query.unlike.pictures]
        if pictures:
            self._encoding.require("image")
        found: dict[str, Channel] = {}
        if not (own or query.like.pictures or len(like)):
            return found
        vectors = self._encoding.pictures(pictures)
        cut = np.cumsum([len(own), len(query.like.pictures)])
        said = _Said(*np.split(vectors, cut))
        self._add(found, PICTURE_TO_PICTURES, "image", said, like=like, unlike=unlike)
        if pictures and self._encoding.has_towers():
            said = said.through(lambda part: self._encoding.shared("image", part))
            self._add(found, PICTURE_TO_WORDS, "match_text", said, like=like, unlike=unlike)
        return found

    def _counts(self, query: SearchQuery) -> dict[str, float]:
        counts: dict[str, float] = {}
        for texts, weight in (
            ((query.words,), 1.0),
            (query.like.words, self._config.positive / max(1, len(query.like.words))),
            (query.unlike.words, -self._config.negative / max(1, len(query.unlike.words))),
        ):
            for text in texts:
                for term in asked_terms(text):
                    counts[term.text] = counts.get(term.text, 0.0) + weight
        return counts

    def _add(
        self,
        found: dict[str, Channel],
        name: str,
        space_name: str,
        said: _Said,
        *,
        like: NDArray[np.int64],
        unlike: NDArray[np.int64],
    ) -> None:
        """Add a dense channel, where its space exists and the query points anywhere in it."""
        space = self._spaces.get(space_name)
        if space is None:
            return
        near, far = (_mean(part, space.of(rows)) for part, rows in ((said.like, like), (said.unlike, unlike)))
        moved = self._config.positive * near - self._config.negative * far
        if len(said.own):
            moved = said.own[0] + moved
        elif not near.any():
            return
        length = float(np.linalg.norm(moved))
        if length > 0:
            found[name] = space.ask((moved / length).astype(np.float32))


def _mean(said: Vectors, items: Vectors) -> Vectors:
    """Mean of the vectors there are, 0 where there are none; zero rows say nothing."""
    every = np.concatenate([said, items]) if said.shape[1] == items.shape[1] else items
    every = every[every.any(axis=1)]
    mean: Vectors = every.mean(axis=0) if len(every) else np.zeros(items.shape[1], dtype=np.float32)
    return mean
