"""How an answer came about, step by step, and why an item is not in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recsys.index import dot_products
from recsys.pipeline.likeness import FUSED
from recsys.pipeline.moment import Moment
from recsys.pipeline.ranked import Ranked
from recsys.pipeline.stage import Stage
from recsys.recommender import BundleRecommender


@dataclass(frozen=True)
class Standing:
    """Where one item stands in one answer.

    Args:
        slot: its place in the answer, from 1; None where it is not in it.
        hidden_by: what keeps it from being found: "unavailable", "seen", "viewed", "excluded", "not allowed", "its own
            page".
        places: step -> its place after that step, from 1; None where the step does not have it. The steps are
            "candidates", then each stage by its name.
        dropped_by: the first stage that left it out; None where none did.
        measure: what it is compared by: "taste" (the user's vector), "likeness" (to the page's item) or "popularity".
        score: of the item by that measure, None where it has none.
        cut: the lowest of those that have a slot, None where none has.
        rank: how many items that may be shown have a higher score, plus 1; None without a score.
    """

    slot: int | None
    hidden_by: tuple[str, ...]
    places: dict[str, int | None]
    dropped_by: str | None
    measure: str
    score: float | None
    cut: float | None
    rank: int | None

    @property
    def below_by(self) -> float | None:
        """How far its score is below the cut; negative where it is above, and something else keeps it out."""
        return None if self.score is None or self.cut is None else self.cut - self.score


def standing(recommender: BundleRecommender, moment: Moment, item: int, stages: Sequence[Stage] = ()) -> Standing:
    """Where an item stands in the answer to a request.

    Args:
        recommender: what answers.
        moment: the request.
        item: row of the item.
        stages: as the answer is made with.
    """
    steps: list[tuple[str, Ranked]] = []
    slots = recommender.ranked(moment, stages, told=lambda name, ranked: steps.append((name, ranked)))
    places = {name: _place(ranked, item) for name, ranked in steps}
    dropped = [
        name
        for (_, before), (name, after) in pairwise(steps)
        if _place(before, item) is not None and _place(after, item) is None
    ]
    measure, scores = _measured(recommender, moment)
    hidden = next(iter(moment.relaxed()))
    of_slots = scores[slots.rows]
    of_slots = of_slots[np.isfinite(of_slots)]
    own = float(scores[item])
    known = bool(np.isfinite(own))
    return Standing(
        slot=_place(slots, item),
        hidden_by=moment.hidden_by(item),
        places=places,
        dropped_by=dropped[0] if dropped else None,
        measure=measure,
        score=own if known else None,
        cut=float(of_slots.min()) if len(of_slots) else None,
        rank=int(np.count_nonzero(scores[~hidden] > own)) + 1 if known else None,
    )


def _place(ranked: Ranked, item: int) -> int | None:
    where = np.flatnonzero(ranked.rows == item)
    return int(where[0]) + 1 if len(where) else None


def _measured(recommender: BundleRecommender, moment: Moment) -> tuple[str, NDArray[np.float32]]:
    """A score of every item by which those of one answer can be compared, float32 [n_items]."""
    bundle = moment.bundle
    if moment.page >= 0:
        weights = moment.request.weights or FUSED
        parts = recommender.likeness.split(moment.page, np.arange(len(bundle)))
        total = sum(weights.values())
        mixed = sum(weight * np.nan_to_num(parts[part]) for part, weight in weights.items())
        return "likeness", np.asarray(mixed / total, dtype=np.float32)
    if moment.query.vector is not None:
        return "taste", dot_products(bundle.item_vectors, moment.query.vector)
    return "popularity", np.asarray(bundle.popularity, dtype=np.float32)
