"""From a margin to a probability; numpy only, so the service may use it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMOOTH_SHARE = 0.1
"""Share of the straight line in the log odds: it keeps the order of margins within a step and beyond the last."""


@dataclass(frozen=True)
class Calibrator:
    """Probability of a match = sigmoid(log odds of the margin), for as many matches as mismatches.

    The log odds are a straight line (Platt, 1999) or, with knots, mostly a rising broken line through them (isotonic
    regression: Zadrozny and Elkan, 2002). They never fall: evidence does not count backwards.

    Args:
        slope: of the straight line, >= 0.
        offset: of the straight line, log odds at margin 0.
        knots: margins, rising.
        log_odds: log odds at the knots, not falling.
    """

    slope: float
    offset: float
    knots: tuple[float, ...] = ()
    log_odds: tuple[float, ...] = ()

    @classmethod
    def of_dict(cls, told: Mapping[str, Any]) -> Calibrator:
        """From its fields as JSON has them.

        Raises:
            KeyError, TypeError, ValueError: one is missing, or no number.
        """
        knots, log_odds = (tuple(float(value) for value in told[name]) for name in ("knots", "log_odds"))
        return cls(float(told["slope"]), float(told["offset"]), knots, log_odds)

    def __call__(self, margin: Floats, *, prior: float = 0.5) -> Floats:
        """Probabilities in [0, 1], where a share `prior` of all pairs match.

        Another prior shifts the log odds by its own (Bayes' rule).
        """
        return sigmoid(self.odds(margin) + math.log(prior / (1 - prior)))

    def odds(self, margin: Floats) -> Floats:
        """Log odds, for as many matches as mismatches: how much likelier the margin is for a match."""
        odds = self.slope * margin + self.offset
        if self.knots:
            broken = np.interp(margin, self.knots, self.log_odds)
            odds = SMOOTH_SHARE * odds + (1 - SMOOTH_SHARE) * broken
        return odds


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))
