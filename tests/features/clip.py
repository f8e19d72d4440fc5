"""A CLIP with random weights and the bundled tokenizer, as a user's own folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from features.encoders import bundled, models


def write_clip(folder: Path, **preparation: Any) -> None:
    """Write one of 12 numbers, for pictures of 32 x 32.

    Args:
        folder: where to.
        preparation: settings of its image processor.
    """
    library = models.transformers()
    tower = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = library.CLIPConfig(
        text_config={**tower, "vocab_size": 30522, "eos_token_id": 102},
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    torch.manual_seed(0)
    library.CLIPModel(config).eval().save_pretrained(folder)
    library.CLIPImageProcessor(crop_size={"height": 32, "width": 32}, **preparation).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(bundled.text_folder() / name, folder)
