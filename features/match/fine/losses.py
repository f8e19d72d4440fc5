"""The losses of the fine match model, each a formula over the listings of one batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SURE = 0.7
"""Probability from which the slower towers' finding counts as a label."""


def info_nce(text: Tensor, image: Tensor, scale: Tensor, twins: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of finding the picture by the words and the words by the picture.

    Args:
        text: rows of length 1, [n, d].
        image: rows of length 1, [n, d]; row i belongs to text i.
        scale: inverse temperature, a scalar.
        twins: bool [n, n]; pairs that are no negatives.
        smoothing: share of the probability that goes evenly to all but the twins.
    """
    logits = scale * text @ image.T
    losses = []
    for side, none in ((logits, twins), (logits.T, twins.T)):
        log_p = functional.log_softmax(side.masked_fill(none, -torch.inf), dim=1)
        even = log_p.masked_fill(none, 0).sum(1) / (~none).sum(1)
        losses.append(-((1 - smoothing) * log_p.diagonal() + smoothing * even).mean())
    return (losses[0] + losses[1]) / 2


def hardest_triplet(text: Tensor, image: Tensor, twins: Tensor, *, margin: float) -> Tensor:
    """Mean of max(0, margin + hardest foreign cosine - own cosine), both ways (VSE++, Faghri et al., 2018).

    Args:
        text: rows of length 1, [n, d].
        image: rows of length 1, [n, d].
        twins: bool [n, n]; pairs that are no negatives.
        margin: in cosines.
    """
    cosine = text @ image.T
    own = cosine.diagonal()
    foreign = cosine.masked_fill(twins | torch.eye(len(own), dtype=torch.bool, device=own.device), -2.0)
    return (
        functional.relu(margin + foreign.amax(1) - own) + functional.relu(margin + foreign.amax(0) - own)
    ).mean() / 2


def consistency(text: Tensor, image: Tensor) -> Tensor:
    """Mean squares of (text i, text j) - (image i, image j) and of (text i, image j) - (text j, image i), cosines
    (CyCLIP, Goel et al., 2022).
    """
    within = text @ text.T - image @ image.T
    across = text @ image.T
    return (within**2).mean() + ((across - across.T) ** 2).mean()


def told(logits: Tensor, label: Tensor, weight: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Weighted mean cross-entropy of an attribute's values; 0 where none of the listings has one.

    Args:
        logits: [n, values].
        label: int64 [n]; -1 where the listing has no value.
        weight: [values], how much each value counts.
        smoothing: share of the label that is spread over all values.
    """
    known = label >= 0
    if not known.any():
        return logits.sum() * 0
    return functional.cross_entropy(logits[known], label[known], weight=weight, label_smoothing=smoothing)


def relevance(cosine: Tensor, scale: Tensor, offset: Tensor, wanted: Tensor) -> Tensor:
    """Binary cross-entropy between sigmoid(scale * (cosine - offset)) and the labeled relevance.

    Args:
        cosine: of each labeled pair, [n].
        scale: a scalar.
        offset: the cosine at which relevance is even, a scalar.
        wanted: in [0, 1], [n].
    """
    return functional.binary_cross_entropy_with_logits(scale * (cosine - offset), wanted)


def own_among(logits: Tensor, allowed: Tensor) -> Tensor:
    """Mean cross-entropy of the first column among those that are allowed.

    Args:
        logits: [n, 1 + candidates].
        allowed: bool of the same shape; the first column is always.
    """
    return -functional.log_softmax(logits.masked_fill(~allowed, -torch.inf), dim=1)[:, 0].mean()


def pushed(inputs: Tensor, gradient: Tensor, radius: float) -> Tensor:
    """Inputs moved `radius` times their own length along the gradient (FGM, Miyato et al., 2017), [n, d]."""
    length = torch.linalg.vector_norm(gradient, dim=1, keepdim=True).clamp(min=1e-12)
    moved: Tensor = inputs + radius * torch.linalg.vector_norm(inputs.detach(), dim=1, keepdim=True) * gradient / length
    return moved


def agreed(student: Tensor, teacher: Tensor, *, sure: float = SURE) -> Tensor:
    """Cross-entropy of the student's distribution to the teacher's choice, over the rows where the teacher is sure.

    Args:
        student: logits [n, m].
        teacher: logits [n, m], without gradient.
        sure: least probability of the teacher's choice.

    Returns:
        A scalar, the sum over sure rows divided by all rows; 0 where it is sure of none.
    """
    probability, choice = teacher.softmax(1).max(1)
    loss: Tensor = functional.cross_entropy(student, choice, reduction="none")
    return torch.where(probability >= sure, loss, torch.zeros_like(loss)).mean()
