"""Export the two towers of the match model: a query's vector to the space that words and pictures share."""

from __future__ import annotations

from pathlib import Path

import torch

from features.match.model import MatchModel
from features.onnx.export import export

MATCH_TEXT, MATCH_IMAGE = "match_text.onnx", "match_image.onnx"


def export_match_towers(model: MatchModel, folder: Path) -> dict[str, bytes | Path]:
    """Write both towers: `vector` float32 [n, d_text] or [n, d_image] to float32 [n, dim], rows of length 1.

    Returns:
        Their files by name; none where the model is not fitted.
    """
    if model.towers is None:
        return {}
    files: dict[str, bytes | Path] = {}
    for name, tower, d_in in (
        (MATCH_TEXT, model.towers.text, model.d_text),
        (MATCH_IMAGE, model.towers.image, model.d_image),
    ):
        example = torch.randn(3, d_in, generator=torch.Generator().manual_seed(0))
        export(tower, {"vector": example / example.norm(dim=1, keepdim=True)}, folder / name, dynamic={"vector": (0,)})
        files[name] = folder / name
    return files
