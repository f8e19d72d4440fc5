"""What every model looks like to the evaluation: user rows in, one score an item out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Scorer(Protocol):
    """Anything that can rank the whole catalog for a user."""

    @property
    def name(self) -> str:
        """Short name, the key in tables: "gnn", "als"."""

    @property
    def params(self) -> Mapping[str, object]:
        """What was chosen for it (JSON-able), such as the values tuned on validation."""

    @property
    def fit_s(self) -> float:
        """Seconds spent on fitting it, tuning included; NaN where nobody measured."""

    def score(self, user_idx: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of all items, higher is better.

        Args:
            user_idx: int64 [n], any rows of the user vocabulary, in any order.

        Returns:
            float32 [n, n_items], all finite; a user's row does not depend, up to
            rounding, on who else is asked for.
        """


@dataclass(frozen=True, eq=False)
class EmbeddingScorer:
    """score(u, i) = <user_embeddings[u], item_embeddings[i]>.

    Args:
        name: short name.
        user_embeddings: float32 [n_users, dim].
        item_embeddings: float32 [n_items, dim].
        params: what was chosen for it.
        fit_s: seconds spent on fitting.

    Raises:
        ValueError: an array is not a matrix, or the widths differ.
    """

    name: str
    user_embeddings: NDArray[np.float32]
    item_embeddings: NDArray[np.float32]
    params: Mapping[str, object] = field(default_factory=dict)
    fit_s: float = float("nan")

    def __post_init__(self) -> None:
        users, items = self.user_embeddings.shape, self.item_embeddings.shape
        if len(users) != 2 or len(items) != 2 or users[1] != items[1]:
            raise ValueError(
                f"{self.name}: user and item embeddings must be matrices of one width, got {users} and {items}"
            )

    def score(self, user_idx: NDArray[np.int64]) -> NDArray[np.float32]:
        """Dot products, float32 [n, n_items]."""
        scores: NDArray[np.float32] = self.user_embeddings[user_idx] @ self.item_embeddings.T
        return scores.astype(np.float32, copy=False)
