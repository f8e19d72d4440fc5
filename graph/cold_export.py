"""Export the tower that places items which join later (`graph/cold_tower.py`), so that the service runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from features.encoders.embeddings import ItemVectors
from features.onnx.export import export
from graph.cold_tower import ColdTower
from graph.content import center


def export_cold_tower(tower: ColdTower, vectors: ItemVectors, *, image_share: float, path: Path) -> None:
    """Write the tower as ONNX.

    Its inputs: `text` float32 [n, d_text] and `image` float32 [n, d_image], rows of length 1, or 0 where missing;
    `trust` float32 [n] in [0, 1], how far to believe the picture, NaN for full trust; `message` float32 [n, dim], see
    `graph.cold_tower.message`. Its output: float32 [n, dim], rows of length 1.

    Args:
        tower: as learned.
        vectors: those the tower was learned from; their centers are part of it.
        image_share: share of a fully trusted picture, as in training.
        path: where.

    Raises:
        ValueError: the exported tower gives other numbers than the original.
    """
    network = _Tower(tower.projection, center(vectors.text), center(vectors.image), image_share)
    n = min(len(vectors), 4)
    rng = np.random.default_rng(0)
    trust = np.linspace(0, 1, n, dtype=np.float32)
    trust[-1] = np.nan
    inputs = {
        "text": vectors.text.vectors[:n],
        "image": vectors.image.vectors[:n],
        "trust": trust,
        "message": rng.normal(size=(n, tower.projection.shape[1])).astype(np.float32),
    }
    tensors = {name: torch.from_numpy(np.resize(value, (4, *value.shape[1:]))) for name, value in inputs.items()}
    export(network, tensors, path, dynamic=dict.fromkeys(tensors, (0,)))


class _Tower(nn.Module):
    """`item_content` and the GNN's last step for one item by itself."""

    def __init__(
        self,
        projection: NDArray[np.float32],
        text_center: NDArray[np.float32],
        image_center: NDArray[np.float32],
        image_share: float,
    ) -> None:
        super().__init__()
        self.image_share = image_share
        for name, array in (("projection", projection), ("text", text_center), ("image", image_center)):
            self.register_buffer(f"_{name}", torch.from_numpy(np.ascontiguousarray(array)))
        self._projection: Tensor
        self._text: Tensor
        self._image: Tensor

    def forward(self, text: Tensor, image: Tensor, trust: Tensor, message: Tensor) -> Tensor:
        has_text, has_image = text.abs().sum(1) > 0, image.abs().sum(1) > 0
        text = normalize((text - self._text) * has_text[:, None])
        image = normalize((image - self._image) * has_image[:, None])
        share = self.image_share * torch.where(torch.isnan(trust), 1.0, trust)
        share = torch.where(has_text, share * has_image, 1.0)[:, None]
        content = normalize(torch.cat([(1 - share).sqrt() * text, share.sqrt() * image], dim=1))
        return normalize(content @ self._projection + message)
