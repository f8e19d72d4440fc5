"""Folders of small vision and joint models of `transformers`, with random weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from features.encoders import bundled, models

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
SIZE = {"height": 32, "width": 32}


def save_vit(folder: Path) -> None:
    library = models.transformers()
    library.ViTModel(library.ViTConfig(image_size=32, patch_size=8, **SMALL)).eval().save_pretrained(folder)
    library.ViTImageProcessor(size=SIZE).save_pretrained(folder)


def save_vit_without_pooler(folder: Path) -> None:
    library = models.transformers()
    config = library.ViTConfig(image_size=32, patch_size=8, **SMALL)
    library.ViTModel(config, add_pooling_layer=False).eval().save_pretrained(folder)
    library.ViTImageProcessor(size=SIZE).save_pretrained(folder)


def save_dino(folder: Path) -> None:
    library = models.transformers()
    config = library.Dinov2Config(image_size=32, patch_size=8, **{**SMALL, "mlp_ratio": 2})
    library.Dinov2Model(config).eval().save_pretrained(folder)
    library.BitImageProcessor(size={"shortest_edge": 40}, crop_size=SIZE).save_pretrained(folder)


def save_dino_with_registers(folder: Path) -> None:
    library = models.transformers()
    config = library.Dinov2WithRegistersConfig(image_size=32, patch_size=8, num_register_tokens=3, **SMALL)
    library.Dinov2WithRegistersModel(config).eval().save_pretrained(folder)
    library.BitImageProcessor(size={"shortest_edge": 40}, crop_size=SIZE).save_pretrained(folder)


def save_convnext(folder: Path) -> None:
    library = models.transformers()
    config = library.ConvNextConfig(hidden_sizes=[4, 8, 12, 16], depths=[1, 1, 1, 1], image_size=32)
    library.ConvNextModel(config).eval().save_pretrained(folder)
    library.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875).save_pretrained(folder)


def tokenizer(folder: Path, **changed: Any) -> None:
    for name in ("tokenizer.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(bundled.text_folder() / name, folder)
    models.transformers().BertTokenizerFast.from_pretrained(bundled.text_folder(), **changed).save_pretrained(folder)


def save_clip(folder: Path) -> None:
    library = models.transformers()
    config = library.CLIPConfig(
        text_config={**SMALL, "vocab_size": 30522, "eos_token_id": 102},
        vision_config={**SMALL, "image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    library.CLIPModel(config).eval().save_pretrained(folder)
    library.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE).save_pretrained(folder)
    tokenizer(folder)


def save_siglip(folder: Path) -> None:
    library = models.transformers()
    config = library.SiglipConfig(
        text_config={**SMALL, "vocab_size": 30522, "max_position_embeddings": 16, "projection_size": 16},
        vision_config={**SMALL, "image_size": 32, "patch_size": 8},
    )
    library.SiglipModel(config).eval().save_pretrained(folder)
    library.SiglipImageProcessor(size=SIZE).save_pretrained(folder)
    tokenizer(folder, model_input_names=["input_ids"])


def save_siglip2(folder: Path) -> None:
    """The variant that takes pictures of any proportion as a row of patches."""
    library = models.transformers()
    config = library.Siglip2Config(
        text_config={**SMALL, "vocab_size": 30522, "max_position_embeddings": 16, "projection_size": 16},
        vision_config={**SMALL, "num_patches": 16, "patch_size": 8},
    )
    library.Siglip2Model(config).eval().save_pretrained(folder)
    library.Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)
    tokenizer(folder, model_input_names=["input_ids"])
