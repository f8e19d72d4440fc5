"""What each row contributes: the columns from whose sums every estimator is made.

w is the policy's probability over the log's, r the reward, q the expected reward of what was shown and v that of what
the policy would show, both from a reward model that never saw the row's request.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.replay.log import Log, Rows
from recsys.replay.policy import Policy
from recsys.replay.rankings import running_product
from recsys.replay.survey import LEVELS, LogSurvey, PolicySurvey

F64 = NDArray[np.float64]

SINGLE = ("w", "wr", "kept", "kept r", "v", "wd", "mrdr", "e", "er")
LEVELED = ("clip", "clip r", "switch d", "shrink d")
RANKED = ("chain", "chain r", "whole", "whole r", "slot", "slot r", "list v", "chain d", "slot d")
WEIGHTS = ("w", "kept", "e", "chain", "whole", "slot", *(f"clip {level}" for level in range(LEVELS)))
"""The columns that are weights of rewards."""


def columns_of(log: Log) -> tuple[str, ...]:
    """Names of the columns that `terms` fills for a log, in order."""
    leveled = tuple(f"{name} {level}" for name in LEVELED for level in range(LEVELS))
    return SINGLE + leveled + (RANKED if log.is_ranked else ())


def terms(rows: Rows, log: Log, policy: Policy, *, on_log: LogSurvey, on_policy: PolicySurvey, draws: F64) -> F64:
    """The columns of some rows.

    Args:
        rows: the rows.
        log: where they are from.
        policy: the policy.
        on_log: see `survey`.
        on_policy: see `survey`.
        draws: float64 [m], uniform in [0, 1); which rows rejection replay keeps.

    Returns:
        float64 [columns, m].
    """
    given = log.given_above
    r = rows.reward
    w = policy.of_logged(rows, given_above=given) / rows.propensity
    q = on_log.values[rows.fold, rows.cell, rows.item_idx]
    v = policy.expected(rows, on_log.values, given_above=given)
    d = r - q
    kept = (draws * on_policy.largest < w).astype(np.float64)
    if np.array_equal(on_policy.values, on_log.values, equal_nan=True):
        mrdr = v + w * d
    else:
        own = on_policy.values[rows.fold, rows.cell, rows.item_idx]
        mrdr = policy.expected(rows, on_policy.values, given_above=given) + w * (r - own)
    e = policy.share(rows, on_log.cluster_of) / on_log.cluster_share[rows.cell, on_log.cluster_of[rows.item_idx]]
    found = [w, w * r, kept, kept * r, v, w * d, mrdr, e, e * r]
    clipped = [np.minimum(w, level) for level in on_policy.levels]
    found += clipped
    found += [weight * r for weight in clipped]
    found += [np.where(w <= level, w, 0.0) * d for level in on_policy.levels]
    squared = w * w
    found += [level**2 * w / (squared + level**2) * d for level in on_policy.levels]
    if log.is_ranked:
        chain, whole = running_product(rows, policy.of_logged(rows, given_above=True) / rows.propensity)
        listed = policy.expected(rows, on_log.values, given_above=False) if given else v
        slot = w
        if given:
            slot = np.zeros_like(w)
            if log.marginal is not None:
                overall = log.marginal[rows.within]
                known = np.isfinite(overall)
                slot[known] = (policy.of_logged(rows, given_above=False) / np.where(known, overall, 1.0))[known]
        found += [chain, chain * r, whole, whole * r, slot, slot * r, listed, chain * d, slot * d]
    return np.stack(found)
