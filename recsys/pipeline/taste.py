"""A stage that lets the taste of the one who asks order an item's similar items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.index import dot_products
from recsys.pipeline.moment import Moment
from recsys.pipeline.ranked import Ranked, in_unit


@dataclass(frozen=True)
class Taste:
    """Orders candidates by (1 - weight) x merit + weight x taste, both stretched over [0, 1]; ties keep their order.

    Taste is the dot product of the user's vector with an item's. A stranger has none, and nothing changes for them.

    Args:
        weight: how much taste counts, in [0, 1].
    """

    weight: float
    name: str = "taste"

    def apply(self, ranked: Ranked, moment: Moment) -> Ranked:
        """As `Stage.apply`; the mixture becomes the merit."""
        vector = moment.query.vector
        if vector is None or self.weight == 0 or not len(ranked):
            return ranked
        taste = in_unit(dot_products(moment.bundle.item_vectors[ranked.rows], vector))
        mixed = (1 - self.weight) * ranked.merit + self.weight * taste
        order = np.argsort(-mixed, kind="stable")
        return ranked.with_merit(mixed).take(order)
