"""What a run of `recsys match fit` leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from features.match.fine.evaluation import Judged
from features.match.fine.model import FineModel
from features.match.fine.parts import Parts
from features.match.fine.views import Listings
from features.shop.shop import Shop


@dataclass(frozen=True, eq=False)
class MatchRun:
    """A fitted match model and what it was fitted to.

    Args:
        shop: the shop.
        listings: its words and pictures.
        parts: what was learned from and what was held back.
        model: of the first seed.
        judged: the first seed's test.
        summary: what `match.json` holds.
    """

    shop: Shop
    listings: Listings
    parts: Parts
    model: FineModel
    judged: Judged
    summary: dict[str, Any]
