"""Ranking losses: each liked item against all candidates of its user, or against one."""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid


def softmax_loss(
    logits: torch.Tensor,
    user: torch.Tensor,
    item: torch.Tensor,
    *,
    log_inclusion: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean over pairs of -log softmax: each liked item against all candidates of its user.

        L = - mean_(u,i) [ s_ui - log sum_j exp(s_uj) / pi_j ]

    With pi_j the probability that item j became a candidate, the sum is an unbiased estimate of the sum over the
    whole catalog (Horvitz & Thompson 1952); with all items as candidates it is that sum (Wu et al. 2022).

    Args:
        logits: float [n_users, n_candidates]; scores over the temperature.
        user: int64 [n_pairs]; row of `logits` of each pair.
        item: int64 [n_pairs]; column of `logits` of each pair.
        log_inclusion: float [n_candidates], log pi_j; None where every item is a candidate. With the log of an item's
            popularity taken off, popular items weigh more as negatives (`ObjectiveConfig.debias`).
        weight: float [n_pairs] > 0; how much each pair counts, None for all alike.

    Returns:
        float [], the loss; 0 without pairs.
    """
    if len(user) == 0:
        return logits.sum() * 0.0
    against = logits if log_inclusion is None else logits - log_inclusion
    return _mean(torch.logsumexp(against, dim=1)[user] - logits[user, item], weight)


def bpr_loss(liked: torch.Tensor, other: torch.Tensor, *, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Mean over pairs of -ln sigmoid(s_ui - s_uj), j an item that the user lacks (Rendle et al. 2009).

    Args:
        liked: float [n_pairs]; s_ui.
        other: float [n_pairs]; s_uj.
        weight: float [n_pairs] > 0; how much each pair counts, None for all alike.

    Returns:
        float [], the loss.
    """
    return _mean(-logsigmoid(liked - other), weight)


def _mean(losses: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    return losses.mean() if weight is None else (losses * weight).sum() / weight.sum()
