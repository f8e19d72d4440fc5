"""A linear reduction that is trained to keep who is near to whom, judged against principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from torch.nn import functional

from features.section import Section
from features.vectors.nearest import nearest
from features.vectors.reduction import Reduction, pca

log = structlog.get_logger()


class LearnedReductionConfig(Section):
    """How the reduction is trained."""

    epochs: PositiveInt = 30
    """Most passes over the rows."""

    batch: PositiveInt = 1024
    """Rows in a batch; a row's neighborhood is looked for among the others of its batch."""

    learning_rate: PositiveFloat = 1e-3
    """Of Adam."""

    temperature: PositiveFloat = 0.05
    """Of the cosines; the lower, the more the nearest rows count."""

    neighbors: PositiveInt = 10
    """Neighbors by which the held-out rows are judged."""

    patience: PositiveInt = 4
    """Training stops when their recall has not risen for so many epochs."""


@dataclass(frozen=True, eq=False)
class Learned:
    """What training gave, and what it was compared with.

    Args:
        reduction: the map that keeps more of the held-out rows' neighbors: the learned one, or else PCA.
        recall: share of a held-out row's nearest neighbors that are still among its nearest, by "pca" and "learned".
    """

    reduction: Reduction
    recall: dict[str, float]


def neighbor_recall(
    before: NDArray[np.float32], after: NDArray[np.float32], *, k: int, rows: NDArray[np.int64]
) -> float:
    """Share of the k nearest rows by cosine that are still among the k nearest, mean over some rows.

    Args:
        before: float32 [n, d].
        after: float32 [n, d_out].
        k: neighbors a row.
        rows: int64 [m]; the rows that are asked, NaN is returned where there is none.
    """
    if not len(rows):
        return float("nan")
    lists = []
    for vectors in (before, after):
        found = nearest(vectors[rows], vectors, k + 1).idx
        lists.append([[one for one in row if one != own][:k] for row, own in zip(found, rows, strict=True)])
    return float(np.mean([len(set(a) & set(b)) / max(len(a), 1) for a, b in zip(*lists, strict=True)]))


def learn_reduction(
    vectors: NDArray[np.float32], dim: int, config: LearnedReductionConfig | None = None, *, seed: int
) -> Learned:
    """Train x -> x W so that the cosines of a batch, as neighborhoods, stay what they were.

    The loss is the divergence KL(p || q) of the neighborhoods p_ij = softmax_j(cos(x_i, x_j) / t) before and q after
    (stochastic neighbors: Hinton and Roweis, 2002, with cosines). W starts from PCA without centering; a tenth of the
    rows is held out, and the epoch that keeps most of their neighbors among all rows is taken. If PCA keeps as many,
    it is PCA that is returned.

    Args:
        vectors: float32 [n, d]; zero rows do not take part.
        dim: dimensions to keep.
        config: of the training.
        seed: of held-out rows and batches.

    Raises:
        ValueError: dim is out of range, or there are fewer than 20 rows that are not zero.
    """
    config = config or LearnedReductionConfig()
    present = vectors[vectors.any(axis=1)]
    if len(present) < 20:
        raise ValueError(f"a reduction is learned from at least 20 rows, got {len(present)}")
    start = pca(present, dim=dim, center=False)
    order = np.random.default_rng(seed).permutation(len(present))
    held = order[: min(len(present) // 10, 2000)]
    unit = functional.normalize(torch.from_numpy(present), dim=1)
    train = torch.from_numpy(order[len(held) :])
    generator = torch.Generator().manual_seed(seed)
    weight = torch.from_numpy(start.matrix.copy()).requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=config.learning_rate)

    def kept(matrix: NDArray[np.float32]) -> float:
        return neighbor_recall(present, present @ matrix, k=config.neighbors, rows=held)

    of_pca = kept(start.matrix)
    best, best_recall, waited = start.matrix, of_pca, 0
    for _ in range(config.epochs):
        shuffled = train[torch.randperm(len(train), generator=generator)]
        for rows in torch.tensor_split(shuffled, max(1, round(len(train) / config.batch))):
            x = unit[rows]
            loss = _divergence(x @ x.T, functional.normalize(x @ weight, dim=1), config.temperature)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        matrix = weight.detach().numpy().copy()
        recall = kept(matrix)
        waited += 1
        if recall > best_recall:
            best, best_recall, waited = matrix, recall, 0
        if waited >= config.patience:
            break
    recalls = {"pca": of_pca, "learned": best_recall if best is not start.matrix else kept(matrix)}
    log.info("reduction learned", dim=dim, **{name: round(value, 4) for name, value in recalls.items()})
    if best is start.matrix:
        return Learned(start, recalls)
    return Learned(Reduction("learned", start.center, best, start.explained), recalls)


def _divergence(before: torch.Tensor, after: torch.Tensor, temperature: float) -> torch.Tensor:
    own = torch.eye(len(before), dtype=torch.bool)
    p = functional.log_softmax((before / temperature).masked_fill(own, -1e4), dim=1)
    q = functional.log_softmax((after @ after.T / temperature).masked_fill(own, -1e4), dim=1)
    return functional.kl_div(q, p, log_target=True, reduction="batchmean")
