"""How high items without training events stand among the others: as validation asks, but not out of sight."""

from __future__ import annotations

from collections.abc import Sequence

NEWCOMER_BONUSES = (-0.5, -0.3, -0.2, -0.15, -0.1, -0.05, 0.0, 0.1, 0.2, 0.4, 0.8, 2.0)
"""What may be added to the scores of items without training events, rising; validation decides."""
NEWCOMER_COST = 0.01
"""Share of the best validation recall that may be given up to keep newcomers in sight."""


def choose_bonus(bonuses: Sequence[float], recalls: Sequence[float]) -> tuple[float, float]:
    """How far to raise (or lower) newcomers, given the validation recall under each bonus.

    The best on validation alone would often hide newcomers from everyone: few of them are in the validation pairs, and
    what nobody is shown nobody can like. So newcomers stand as high as costs at most `NEWCOMER_COST` of the best
    recall, but above zero only as far as that recall asks.

    Args:
        bonuses: rising.
        recalls: one a bonus; NaN without validation pairs.

    Returns:
        The bonus and its recall.
    """
    best = max(range(len(bonuses)), key=lambda place: recalls[place])
    highest = max(0.0, bonuses[best])
    chosen = best
    for place, (bonus, recall) in enumerate(zip(bonuses, recalls, strict=True)):
        if bonus <= highest and recall >= (1 - NEWCOMER_COST) * recalls[best]:
            chosen = max(chosen, place)
    return bonuses[chosen], recalls[chosen]
