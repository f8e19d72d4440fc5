"""The one estimator to believe of all that were made: what the verdict judges and policies are compared by."""

from __future__ import annotations

import math
from typing import Literal

from recsys.replay.choice import slope
from recsys.replay.intervals import Estimate
from recsys.replay.tally import Tally
from recsys.replay.verdict import FEWEST_EFFECTIVE

Clicks = Literal["list", "above", "slot"]
"""What a click in a list may depend on: on all of it, on its slot and those above, on its own slot alone."""

SINGLE = ("snips", "dr", "sndr", "mrdr")
RANKED: dict[Clicks, tuple[str, ...]] = {
    "list": ("sn_standard",),
    "above": ("sn_reward_interaction", "cascade_dr"),
    "slot": ("sn_independent", "independent_dr"),
}
"""Candidates by what they let a click depend on, the least assuming first. Without normalization or model an estimator
is never quieter in earnest: its spread hides what is wrong with its weights."""
CONTRADICTED = 3.0
"""Standard errors of a difference that contradict what was taken for granted: a false alarm in 1 of 370 logs."""


def headline(sums: Tally, policy: int, found: dict[str, Estimate], clicks: Clicks) -> str:
    """The quietest estimator of those that are right for large logs, given what clicks may depend on.

    Where every weight is 1 the policy wrote the log, and its mean needs no estimator. Whether a click depends on what
    stands above is not for the log to choose: an interval knows nothing of such a choice, and where the log is too
    small to show the dependence it would miss the truth (Leeb, Pötscher 2005). So it is asked for, and what was granted
    is taken back where the log contradicts it. For the same reason clipped and shrunk estimators and the reward model
    alone are reported, but never the headline.

    One whose weights leave less than `FEWEST_EFFECTIVE` rows has no say, unless all do: its error is guessed from a
    handful of rows. Where that silences all that was granted, what assumes more is heard; see `overreaches`.

    Args:
        sums: of the log.
        policy: which policy.
        found: its estimates by name.
        clicks: what is granted of lists.
    """
    weight = sums.columns.index("w")
    if sums.squares[policy, weight] == sums.n.sum() == sums.sums[policy, weight].sum():
        return "ips"
    every = list(RANKED.values()) if RANKED["list"][0] in found else [SINGLE]
    granted = every[: list(RANKED).index(clicks) + 1]
    for rungs, least in ((granted, FEWEST_EFFECTIVE), (every, FEWEST_EFFECTIVE), (granted, 0.0), (every, 0.0)):
        heard = [[name for name in rung if found[name].effective_sample_size >= least] for rung in rungs]
        ladder = [min(rung, key=lambda name: _error(found[name])) for rung in heard if rung]
        pick = slope([found[name] for name in ladder], tolerated=CONTRADICTED)
        if pick >= 0:
            return ladder[pick]
    return granted[0][0]


def overreaches(name: str, clicks: Clicks) -> str:
    """What an estimator assumes beyond what was granted, as a sentence; "" where it does not."""
    kinds = list(RANKED)
    kind: Clicks = next((kind for kind, names in RANKED.items() if name in names), "list")
    if kinds.index(kind) <= kinds.index(clicks):
        return ""
    assumed = "each slot by itself" if kind == "slot" else "the slots from the top down"
    return f"It takes {assumed}: the log is too small to tell whether the rest of the list matters to a click."


def _error(estimate: Estimate) -> float:
    return estimate.standard_error if math.isfinite(estimate.standard_error) else math.inf
