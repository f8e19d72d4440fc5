"""A rule set as steps of the pipeline: filters before candidates are looked for, then order, diversity and slots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recsys.diversity import DiversityConfig, diversify, merit_of_places
from recsys.exploration import ExplorationConfig
from recsys.pipeline.moment import Moment
from recsys.pipeline.ranked import Ranked, by_factor
from recsys.pipeline.stage import Stage
from recsys.recommendation import SOURCES
from recsys.rules.book import RuleBook
from recsys.rules.occasion import Occasion
from recsys.slots import fill

PINNED = SOURCES.index("pinned")
_UNSCORED = np.array([[0.0], [0.0], [1.0], [np.nan]])
"""Score, merit, propensity and marginal of an item that only a pin brought in."""


@dataclass(frozen=True, eq=False)
class Steering:
    """What is done to the answer of one request beside ranking.

    Args:
        book: the rules.
        occasion: who asks.
        fading: row → what the place of an item that was seen and may come again is divided by, in (0, 1).
        begin: slots that earlier pages of the list have filled; pins count from the first page.
        diversity, exploration: of the rule set, or of an experiment's arm; None for none.
    """

    book: RuleBook
    occasion: Occasion
    fading: Mapping[int, float] = field(default_factory=dict)
    begin: int = 0
    diversity: DiversityConfig | None = None
    exploration: ExplorationConfig | None = None

    def allowed(self) -> NDArray[np.bool_] | None:
        """What the hard filters leave, bool [n_items], not to be written to; None: everything."""
        return self.book.allowed(self.occasion)

    def stages(self) -> list[Stage]:
        """The steps that have something to do, in the order of `recsys/rules/book.py`."""
        holding, found = self.book.holding(self.occasion), list[Stage]()
        if holding.any("boost", "bury") or self.fading:
            found.append(Moved(self.book, self.occasion, self.fading))
        if self.diversity is not None and self.diversity.share > 0:
            found.append(Diversified(self.diversity))
        explores = self.exploration is not None and not self.exploration.off
        if holding.any("cap", "pin") or explores:
            found.append(Slotted(self.book, self.occasion, self.begin, self.exploration))
        return found


@dataclass(frozen=True, eq=False)
class Moved:
    """Boosts, buries, and items that fade in again after they were seen; arguments as `Steering`."""

    book: RuleBook
    occasion: Occasion
    fading: Mapping[int, float]
    name: str = "rules"

    def apply(self, ranked: Ranked, moment: Moment) -> Ranked:
        """As `Stage.apply`."""
        every = None if self.fading else self.book.factors(self.occasion)
        if every is not None:
            return moment.moved(ranked, every)
        factor = self.book.factor(ranked.rows, self.occasion)
        if self.fading:
            faded = np.array([self.fading.get(row, 1.0) for row in ranked.rows.tolist()])
            factor = faded if factor is None else factor * faded
        return ranked if factor is None else ranked.take(by_factor(factor))


@dataclass(frozen=True, eq=False)
class Diversified:
    """Unlike items next to one another in the top of the list."""

    config: DiversityConfig
    name: str = "diversity"

    def apply(self, ranked: Ranked, moment: Moment) -> Ranked:
        """As `Stage.apply`: what is chosen first stands first, the others follow in their order."""
        depth = min(self.config.depth, len(ranked))
        if depth < 2:
            return ranked
        bundle = moment.bundle
        vectors = {"behavior": bundle.item_embeddings, "text": bundle.text_vectors, "image": bundle.image_vectors}
        top = np.asarray(vectors[self.config.by][ranked.rows[:depth]])
        chosen = diversify(merit_of_places(depth), top, 2 * moment.request.k, self.config)
        others = np.setdiff1d(np.arange(len(ranked)), chosen)
        return ranked.take(np.concatenate([chosen, others]))


@dataclass(frozen=True, eq=False)
class Slotted:
    """Pins, caps and chance; arguments as `Steering`."""

    book: RuleBook
    occasion: Occasion
    begin: int
    exploration: ExplorationConfig | None
    name: str = "slots"

    def apply(self, ranked: Ranked, moment: Moment) -> Ranked:
        """As `Stage.apply`; the candidates beside those in the slots follow in their order."""
        k = moment.request.k
        pinned = {
            slot - self.begin: row
            for slot, (row, _) in self.book.pins(self.occasion).items()
            if 0 <= slot - self.begin < k and not moment.hides(row)
        }
        place_of: dict[int, int] = {}
        if pinned:
            ranked, place_of = _with_pinned(ranked, list(pinned.values()))
        filled = fill(
            len(ranked),
            k,
            caps=self.book.caps(ranked.rows, self.occasion),
            pins={slot: place_of[row] for slot, row in pinned.items()},
            exploration=self.exploration,
            seed=moment.request.seed,
        )
        left = np.ones(len(ranked), dtype=np.bool_)
        left[filled.places] = False
        ranked = ranked.take(np.concatenate([filled.places, left.nonzero()[0]]))
        n_slots, (_, _, propensity, marginal) = len(filled.places), ranked.real  # an array of its own, after `take`
        propensity[:n_slots], marginal[:n_slots] = filled.conditional, filled.marginal
        propensity[n_slots:], marginal[n_slots:] = 1, np.nan
        return ranked


def _with_pinned(ranked: Ranked, rows: list[int]) -> tuple[Ranked, dict[int, int]]:
    """The candidates, then the pinned items that were not among them; the source of every pinned one is "pinned".

    Returns:
        These, and the place of each pinned row among them.
    """
    known = ranked.rows.tolist()
    missing = sorted(row for row in rows if row not in known)
    places = {row: known.index(row) for row in rows if row in known}
    places |= {row: len(ranked) + place for place, row in enumerate(missing)}
    whole = np.array([missing, [PINNED] * len(missing), [-1] * len(missing)], dtype=np.int64)
    ranked = ranked.then(Ranked(whole, np.repeat(_UNSCORED, len(missing), axis=1)))
    ranked.source[list(places.values())] = PINNED
    return ranked, places
