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
from recsys.search.fusion import Floats, Listed, mixed, mixed_parts, ranks_of
from recsys.search.query import MAX_RESULTS, BadQuery, SearchQuery
from recsys.search.reasons import PERSONAL, Reasons
from recsys.search.stored import StoredSearch, open_search

AGAINST = "against"
"""The part of a score that holds likeness to what is unwanted against an item, where no channel of the query does."""
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
        parts: what each part gives to the score, which is their sum: a channel, `AGAINST`, `PERSONAL`.
    """

    item_idx: int
    score: float
    source: str
    reasons: tuple[str, ...]
    parts: Mapping[str, float]


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
        parts: what gives to the score → how much of each, float64 [n_pool]; they add up to it.
        above: channel → what it gives to each beyond what it gives to all, weighed, float64 [n_pool]; minus infinity
            where it cannot judge an item.
        tastes: how much each is to the shopper's taste, float64 [n_pool]; None for a query without a shopper.
        ranks: channel → place of each in its list, float64 [n_pool], infinite where it is not listed.
    """

    rows: NDArray[np.int64]
    score: Floats
    parts: Mapping[str, Floats]
    above: Mapping[str, Floats]
    tastes: Floats | None
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
        above: dict[str, Floats] = {}
        sides: list[dict[str, Floats]] = []
        sums: list[Floats] = []
        weights: list[float] = []
        for side, names in SIDES.items():
            heard = [name for name in names if name in channels]
            if not heard or not len(pool.rows):
                continue
            listed = pool.of(heard)
            of_side = self.stored.fusion[side].parts(listed)
            share = query.picture_weight if side == "picture" else 1 - query.picture_weight
            beyond = share * (of_side - of_side.mean(axis=1, keepdims=True))  # what is true of all speaks for none
            beyond[np.isnan(listed.scores)] = -np.inf
            above |= dict(zip(heard, beyond, strict=True))
            sides.append(dict(zip(heard, of_side, strict=True)))
            sums.append(of_side.sum(axis=0))
            weights.append(share)
        if len(sides) == 1:
            weights = [1.0]
        score, parts = np.zeros(len(pool.rows)), dict[str, Floats]()
        if sides:
            score, parts = mixed(sums, weights), mixed_parts(sides, weights)
        unwanted: list[Floats] = [-_known(channel.at(pool.rows)) for channel in self._channels.against(query, channels)]
        if unwanted and len(pool.rows):
            weights = [1.0, *[self.stored.config.negative] * len(unwanted)]
            score = mixed([score, *unwanted], weights)
            parts = mixed_parts([parts, *({AGAINST: of_one} for of_one in unwanted)], weights)
        taste = None
        if query.user_vector is not None and query.user_weight > 0 and len(pool.rows):
            taste, weights = self._taste(query.user_vector, pool.rows), [1 - query.user_weight, query.user_weight]
            score, parts = mixed([score, taste], weights), mixed_parts([parts, {PERSONAL: taste}], weights)
        order = np.lexsort((pool.rows, -score))
        return _Ranked(
            pool.rows[order],
            score[order],
            {name: part[order] for name, part in parts.items()},
            {name: beyond[order] for name, beyond in above.items()},
            None if taste is None else taste[order],
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
            tastes=None if ranked.tastes is None else _top_tenth(ranked.tastes)[page],
        )
        names = list(ranked.above)
        strongest = (
            np.stack([beyond[page] for beyond in ranked.above.values()]).argmax(axis=0)
            if names
            else np.zeros(0, dtype=np.int64)
        )
        gave = {name: part[page].tolist() for name, part in ranked.parts.items()}
        return tuple(
            Result(row, score, names[channel], why, {name: part[place] for name, part in gave.items()})
            for place, (row, score, channel, why) in enumerate(
                zip(rows.tolist(), ranked.score[page].tolist(), strongest.tolist(), reasons, strict=True)
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
