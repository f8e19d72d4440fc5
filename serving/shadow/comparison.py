"""How one answer differs from another to the same request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson


@dataclass(frozen=True)
class Comparison:
    """Two answers to one request.

    Args:
        live, shadow: ids shown by each, best first.
        overlap: ids that both show / slots of the longer; NaN where both are empty.
        correlation: Spearman's, of the places of what both show; NaN where that is less than two.
    """

    live: tuple[str, ...]
    shadow: tuple[str, ...]
    overlap: float
    correlation: float


def compared(live: Sequence[str], shadow: Sequence[str]) -> Comparison:
    """Compare two lists of different ids."""
    longest, place = max(len(live), len(shadow)), {item_id: at for at, item_id in enumerate(shadow)}
    both = [item_id for item_id in live if item_id in place]
    overlap = len(both) / longest if longest else math.nan
    return Comparison(tuple(live), tuple(shadow), overlap, _spearman([place[item_id] for item_id in both]))


def shown(answer: bytes) -> tuple[str, str, list[str]]:
    """The model version of a list's answer, its own id, and the ids it shows."""
    read: dict[str, Any] = orjson.loads(answer)
    return (
        str(read["model_version"]),
        str(read["recommendation_id"]),
        [slot["item"]["item_id"] for slot in read["recommendations"]],
    )


def _spearman(places: Sequence[int]) -> float:
    """Of these places against their order, -1 to 1."""
    if len(places) < 2:
        return math.nan
    ranks = np.argsort(np.argsort(places))
    return float(np.corrcoef(np.arange(len(ranks)), ranks)[0, 1])
