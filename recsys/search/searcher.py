"""Answers queries from a bundle: what is allowed, what each channel finds, one ranking, and why each item is in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.index import dot_products
from recsys.search.channels import (
    LEXICAL,
    SIDES,
    WORDS_TO_PICTURES,
    WORDS_TO_WORDS,
    Channel,
    Channels,
    LexicalChannel,
)
from recsys.search.encoding import Encoding
from recsys.search.fusion import Floats, Listed, mixed, ranks_of
from recsys.search.query import MAX_RESULTS, BadQuery, SearchQuery
from recsys.search.reasons import PERSONAL, Reasons
from recsys.search.stored import StoredSearch, open_search

STRANGE = 0.2
"""From this share of the letters on that an encoder does not know, what it makes of words is not to be believed."""
MEANING = frozenset({WORDS_TO_WORDS, WORDS_TO_PICTURES})
"""The channels that go by what words mean."""


@dataclass(frozen=True)
class Result:
    """One item found.

    Args:
        item_idx: its row.
        score: comparable within one answer only.
        source: the channel that speaks most for it.
        reasons: at most three short true statements, best first.
    """

    item_idx: int
    score: float
    source: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class SearchAnswer:
    """A page of results.

    Args:
        results: best first.
        total: how many items match in all; None where every item is more or less near, so that none can be counted.
        next_offset: where the next page begins; None at the end.
        channels: by what the items were found.
        warnings: what keeps it from being as good as it looks.
    """

    results: tuple[Result, ...]
    total: int | None
    next_offset: int | None
    channels: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Ranked:
    """A pool of items in its final order.

    Args:
        rows: int64 [n_pool].
        score: float64 [n_pool].
        parts: channel → what it adds to each beyond what it adds to all, weighed, float64 [n_pool]; minus infinity
            where it cannot judge an item.
        ranks: channel → place of each in its list, float64 [n_pool], infinite where it is not listed.
    """

    rows: NDArray[np.int64]
    score: Floats
    parts: Mapping[str, Floats]
    ranks: Mapping[str, Floats]


class Searcher:
    """Searches one bundle; safe to share between threads.

    Args:
        bundle: the bundle.
        threads: that one run of an encoder may use.
        stored: its index, where that is open already.
        encoding: its encoders, likewise.

    Raises:
        CannotSearch: the bundle was written without an index.
        BundleError: a file of the index is damaged.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 1,
        stored: StoredSearch | None = None,
        encoding: Encoding | None = None,
    ) -> None:
        self.bundle = bundle
        self.stored: StoredSearch = open_search(bundle) if stored is None else stored
        self.encoding = Encoding(bundle, threads=threads) if encoding is None else encoding
        self._channels = Channels(self.stored.lexical, self.stored.spaces, self.encoding, self.stored.config)
        self._reasons = Reasons(bundle, self.stored.lexical)

    def search(self, query: SearchQuery) -> SearchAnswer:
        """Answer a query.

        Raises:
            BadQuery: it names an attribute, a value or an item that the shop does not have.
            CannotSearch: it needs an encoder that the bundle lacks.
        """
        like, unlike = (self._rows(f"{name}.items", getattr(query, name).items) for name in ("like", "unlike"))
        allowed = self.stored.filters.allowed(query)
        allowed[like] = allowed[unlike] = False
        channels = self._channels.of(query, like, unlike)
        ranked = self._ranked(query, channels, allowed)
        page = slice(query.offset, query.offset + query.k)
        end = min(query.offset + query.k, MAX_RESULTS)
        lexical = channels.get(LEXICAL)
        counted = set(channels) <= {LEXICAL}
        warnings = self._warnings(query, channels)
        total = lexical.matching(allowed) if counted and isinstance(lexical, LexicalChannel) else None
        return SearchAnswer(
            self._results(query, ranked, page, understood=not warnings),
            total=0 if counted and total is None else total,
            next_offset=end if end < min(len(ranked.rows), MAX_RESULTS) else None,
            channels=tuple(channels),
            warnings=warnings,
        )

    def listed(self, query: SearchQuery) -> Listed:
        """What each channel says of the pool, before fusion; for learning to fuse, and for measuring."""
        nobody = np.zeros(0, dtype=np.int64)
        channels = self._channels.of(query, nobody, nobody)
        return self._listed(channels, self.stored.filters.allowed(query))

    def _listed(self, channels: Mapping[str, Channel], allowed: NDArray[np.bool_]) -> Listed:
        hits = [channel.top(MAX_RESULTS, allowed) for channel in channels.values()]
        pooled = np.zeros(len(self.bundle), dtype=np.bool_)
        for found in hits:
            pooled[found.idx] = True
        rows = np.flatnonzero(pooled)
        scores = np.zeros((len(hits), len(rows)))
        for place, channel in enumerate(channels.values()):
            scores[place] = channel.at(rows)
        return Listed(tuple(channels), rows, scores, ranks_of(hits, rows))

    def _ranked(self, query: SearchQuery, channels: Mapping[str, Channel], allowed: NDArray[np.bool_]) -> _Ranked:
        pool = self._listed(channels, allowed)
        parts: dict[str, Floats] = {}
        sides: list[Floats] = []
        weights: list[float] = []
        for side, names in SIDES.items():
            heard = [name for name in names if name in channels]
            if not heard or not len(pool.rows):
                continue
            listed = pool.of(heard)
            of_side = self.stored.fusion[side].parts(listed)
            share = query.picture_weight if side == "picture" else 1 - query.picture_weight
            above = share * (of_side - of_side.mean(axis=1, keepdims=True))  # what is true of all speaks for none
            above[np.isnan(listed.scores)] = -np.inf
            parts |= dict(zip(heard, above, strict=True))
            sides.append(of_side.sum(axis=0))
            weights.append(share)
        if len(sides) == 1:
            weights = [1.0]
        score = mixed(sides, weights) if sides else np.zeros(len(pool.rows))
        unwanted = [_known(channel.at(pool.rows)) for channel in self._channels.against(query, channels)]
        if unwanted and len(pool.rows):
            negative = self.stored.config.negative
            score = mixed([score, *(-likeness for likeness in unwanted)], [1.0, *[negative] * len(unwanted)])
        if query.user_vector is not None and query.user_weight > 0 and len(pool.rows):
            taste = self._taste(query.user_vector, pool.rows)
            score = mixed([score, taste], [1 - query.user_weight, query.user_weight])
            parts[PERSONAL] = taste
        order = np.lexsort((pool.rows, -score))
        return _Ranked(
            pool.rows[order],
            score[order],
            {name: part[order] for name, part in parts.items()},
            {name: ranks[order] for name, ranks in zip(pool.names, pool.ranks, strict=True)},
        )

    def _taste(self, user_vector: NDArray[np.float32], rows: NDArray[np.int64]) -> Floats:
        return dot_products(self.bundle.item_embeddings[rows], user_vector).astype(np.float64)

    def _warnings(self, query: SearchQuery, channels: Collection[str]) -> tuple[str, ...]:
        """Whether the encoder has no tokens for the writing of the words, so that it cannot tell what they mean."""
        texts = [text for text in (query.words, *query.like.words) if text.strip()]
        if not texts or not MEANING & set(channels):
            return ()
        strange, letters = self.encoding.strange_letters(texts)
        if strange < STRANGE * max(letters, 1):
            return ()
        return (
            f"the text encoder of this shop does not know {strange} of the {letters} letters of these words, so their "
            "meaning is guessed: rely on what is said to match letter by letter, or fit the shop with an encoder that "
            "reads this writing (encoders.text_model)",
        )

    def _results(self, query: SearchQuery, ranked: _Ranked, page: slice, *, understood: bool) -> tuple[Result, ...]:
        rows = ranked.rows[page]
        reasons = self._reasons.of(
            query,
            rows,
            {name: ranks[page] for name, ranks in ranked.ranks.items() if understood or name not in MEANING},
            tastes=None if PERSONAL not in ranked.parts else _top_tenth(ranked.parts[PERSONAL])[page],
        )
        names = [name for name in ranked.parts if name != PERSONAL]
        strongest = (
            np.stack([ranked.parts[name][page] for name in names]).argmax(axis=0)
            if names
            else np.zeros(0, dtype=np.int64)
        )
        return tuple(
            Result(row, score, names[channel], why)
            for row, score, channel, why in zip(
                rows.tolist(), ranked.score[page].tolist(), strongest.tolist(), reasons, strict=True
            )
        )

    def _rows(self, place: str, item_ids: tuple[str, ...]) -> NDArray[np.int64]:
        rows = self.bundle.items.idxs(item_ids)
        for item_id, row in zip(item_ids, rows.tolist(), strict=True):
            if row < 0:
                raise BadQuery(place, "must name items of the catalog", item_id)
        return rows


def _top_tenth(taste: Floats) -> NDArray[np.bool_]:
    """Whether each of a pool is among the tenth with the highest values."""
    return taste >= np.quantile(taste, 0.9) if len(taste) >= 10 else np.zeros(len(taste), dtype=np.bool_)


def _known(scores: NDArray[np.float32]) -> Floats:
    """What lacks what is compared counts as the mean of the others, float64 [n]."""
    known = ~np.isnan(scores)
    return np.where(known, scores, scores[known].mean() if known.any() else 0.0).astype(np.float64)
