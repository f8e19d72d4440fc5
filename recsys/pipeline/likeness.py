"""How alike items are, four ways, each in [-1, 1], mixed as a request weighs them.

    image       cosine of the pictures' vectors
    text        cosine of the words' vectors
    behavior    cosine of the places that training gave the items
    complement  users who met both / sqrt(users who met one x users who met the other), of what is no substitute

A complement is bought beside an item, not instead of it, so items of its narrowest category do not count as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.vectors.rows import unit_rows
from recsys.bundle import Bundle
from recsys.candidates import Candidates
from recsys.pipeline.ranked import Ranked, in_unit
from recsys.recommendation import PARTS, SOURCES, Part
from recsys.search.spaces import Asked, Space, Spaces

Floats = NDArray[np.float32]

FUSED: Mapping[Part, float] = {"behavior": 0.5, "text": 0.25, "image": 0.25}
"""About what the published lists mix, see `recsys/similar.py`."""


class Likeness:
    """Likeness within one bundle; safe to share between threads.

    Args:
        bundle: the bundle.
        spaces: the vectors of pictures ("image") and words ("text"), opened with their indexes; None scores every item.
    """

    def __init__(self, bundle: Bundle, spaces: Spaces | None = None) -> None:
        self._bundle = bundle
        self._spaces = spaces or {}

    def ranked(
        self, page: int, weights: Mapping[Part, float], hidden: NDArray[np.bool_], n: int, *, depth: int = 100
    ) -> Ranked:
        """At most n items like that of a page; each one's source is the part that says most for it.

        Args:
            page: row of the item.
            weights: how much each part counts, >= 0; what is not named does not. The score is their weighted mean, and
                a part that an item lacks (no picture, say) counts 0.
            hidden: bool [n_items]; not to be found.
            n: how many.
            depth: the best so many of each part, and at least n, are compared by all.
        """
        asked = [part for part in PARTS if weights.get(part, 0) > 0]
        found = [self._top(page, part, max(n, depth), hidden) for part in asked]
        rows = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *found]))
        if not len(rows):
            return Ranked.nothing()
        share = np.array([weights[part] for part in asked]) / sum(weights[part] for part in asked)
        parts = share[:, None] * np.stack([np.nan_to_num(self._at(page, part, rows)) for part in asked])
        score = parts.sum(axis=0).astype(np.float32)
        order = np.lexsort((rows, -score))
        order = order[score[order] > 0][:n]
        source = np.array([SOURCES.index(part) for part in asked])[parts[:, order].argmax(axis=0)]
        kept = Candidates.of(rows[order], score[order])
        return Ranked.scored(kept.idx, source, kept.anchor, kept.score, in_unit(kept.score))

    def split(self, page: int, rows: NDArray[np.int64]) -> dict[Part, Floats]:
        """Each part of the likeness of some items to that of a page, float32 [n]; NaN where one of the two lacks it."""
        return {part: self._at(page, part, rows) for part in PARTS}

    def vectors(self, kind: Literal["text", "image"], rows: NDArray[np.int64]) -> Floats:
        """Vectors of some items' words or pictures, float32 [n, d]; 0 where missing."""
        return (self._text if kind == "text" else self._image).of(rows)

    def _top(self, page: int, part: Part, n: int, hidden: NDArray[np.bool_]) -> NDArray[np.int64]:
        if part == "complement":
            rows, score = self._complements(page)
            kept = ~hidden[rows] & (score > 0)
            return rows[kept][np.argsort(-score[kept], kind="stable")][:n]
        asked = self._ask(page, part)
        return np.zeros(0, dtype=np.int64) if asked is None else asked.top(n, ~hidden).idx

    def _at(self, page: int, part: Part, rows: NDArray[np.int64]) -> Floats:
        if part == "complement":
            known, score = self._complements(page)
            by_row = dict(zip(known.tolist(), score.tolist(), strict=True))
            return np.array([by_row.get(row, 0.0) for row in rows.tolist()], dtype=np.float32)
        asked = self._ask(page, part)
        return np.full(len(rows), np.nan, dtype=np.float32) if asked is None else asked.at(rows)

    def _ask(self, page: int, part: Part) -> Asked | None:
        """None where the page's item lacks the part."""
        space = {"image": self._image, "text": self._text, "behavior": self._behavior}[part]
        vector = space.of(np.array([page]))[0]
        return space.ask(vector) if vector.any() else None

    def _complements(self, page: int) -> tuple[NDArray[np.int64], Floats]:
        bundle = self._bundle
        rows, users = bundle.together(page)
        of_both = np.maximum(1.0, bundle.popularity[page]) * np.maximum(1.0, bundle.popularity[rows])
        score = (users / np.sqrt(of_both)).astype(np.float32)
        own = bundle.categories_of(page)
        if own:
            narrowest = min((bundle.category_members(category) for category in own), key=len)
            score[np.isin(rows, narrowest)] = 0
        return rows, np.minimum(score, np.float32(1))

    @cached_property
    def _image(self) -> Space:
        return self._spaces.get("image") or Space(self._bundle.image_vectors)

    @cached_property
    def _text(self) -> Space:
        return self._spaces.get("text") or Space(self._bundle.text_vectors)

    @cached_property
    def _behavior(self) -> Space:
        vectors = self._bundle.item_embeddings
        length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
        unit = bool(np.all((length == 0) | (np.abs(length - 1) < 1e-3)))
        return Space(vectors if unit else unit_rows(vectors))
