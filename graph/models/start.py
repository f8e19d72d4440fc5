"""x(0), where propagation starts: an embedding of its own for each node, and what an item's content is worth beside it.

    x0[item] = id[item] + W content[item]        x0[other] = id[other]

An item or user without training events has no embedding of its own.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from graph.joint import JointGraph
from graph.schema import ITEM, USER


class NodeModel(nn.Module):
    """What a model of the nodes starts from.

    Args:
        joint: the numbering of the nodes, and who met anybody.
        content: float32 [n_items, d_content]; rows of length 1, or 0 where nothing is known; d_content may be 0.
        dim: length of an embedding.
        scale: standard deviation of the embeddings and of the projection W before training.
        rng: of the start.

    Raises:
        ValueError: the content has not a row an item.
    """

    _met: torch.Tensor
    _content: torch.Tensor

    def __init__(
        self, joint: JointGraph, content: NDArray[np.float32], *, dim: int, scale: float, rng: np.random.Generator
    ) -> None:
        super().__init__()
        self._users, self._items = joint.rows[USER], joint.rows[ITEM]
        n_items = self._items.stop - self._items.start
        if len(content) != n_items:
            raise ValueError(f"content must have a row an item ({n_items}), it has {len(content)}")
        met = np.ones(joint.n_nodes, dtype=np.float32)
        met[: self._items.stop] = joint.met[: self._items.stop] > 0  # users stand first, then items
        drawn = scale * rng.standard_normal((joint.n_nodes, dim), dtype=np.float32)
        projected = scale * rng.standard_normal((content.shape[1], dim), dtype=np.float32)
        self.node = nn.Parameter(torch.from_numpy(drawn * met[:, None]))
        self.projection = nn.Parameter(torch.from_numpy(projected))
        self.register_buffer("_met", torch.from_numpy(met)[:, None], persistent=False)
        self.register_buffer("_content", torch.from_numpy(np.ascontiguousarray(content)), persistent=False)

    def start(self, seen: torch.Tensor, projection: torch.Tensor) -> torch.Tensor:
        """x(0), float32 [n_nodes, dim].

        Args:
            seen: float32 [n_nodes, 1]; 1 for nodes with an embedding of their own, else 0.
            projection: W, float32 [d_content, dim].
        """
        x = self.node * seen
        shown = self._content @ projection
        return torch.cat([x[: self._items.start], x[self._items] + shown, x[self._items.stop :]])
