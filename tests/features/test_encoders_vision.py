"""Vision and joint models, small and with random weights, against what transformers gives for the same picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from features.encoders import models
from features.encoders.catalog import encode_catalog
from features.encoders.config import EncoderConfig
from features.encoders.image import JointImageEncoder, VisionEncoder, image_encoder
from features.encoders.protocol import share_space
from features.encoders.text import TextEncoder
from features.errors import InputError
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from tests.features.text_models import Folder
from tests.features.vision_models import (
    save_clip,
    save_convnext,
    save_dino,
    save_dino_with_registers,
    save_siglip,
    save_siglip2,
    save_vit,
    save_vit_without_pooler,
)


def picture(color: str, size: tuple[int, int] = (48, 64)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((5, 8, 40, 50), fill=color)
    return image


PICTURES = [picture("crimson"), picture("navy", (90, 40)), picture("olive", (20, 20))]


def outputs(folder: Path, image: Image.Image) -> Any:
    library = models.transformers()
    processor = library.AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.inference_mode():
        return library.AutoModel.from_pretrained(folder).eval()(**processor(images=image, return_tensors="pt"))


@pytest.mark.parametrize(
    ("save", "pooling", "expected"),
    [
        (save_vit, None, lambda given: given.pooler_output),
        (save_vit, "cls", lambda given: given.last_hidden_state[:, 0]),
        (save_vit, "mean", lambda given: given.last_hidden_state[:, 1:].mean(1)),
        (save_vit_without_pooler, None, lambda given: given.last_hidden_state[:, 0]),
        (save_dino, None, lambda given: given.pooler_output),
        (save_dino, "mean", lambda given: given.last_hidden_state[:, 1:].mean(1)),
        (save_dino_with_registers, "mean", lambda given: given.last_hidden_state[:, 4:].mean(1)),
        (save_convnext, None, lambda given: given.pooler_output),
        (save_convnext, "mean", lambda given: given.last_hidden_state.mean((2, 3))),
    ],
)
def test_a_vision_model_is_pooled_as_it_is_asked_to(
    model_folder: Folder, save: Callable[[Path], None], pooling: Any, expected: Callable[[Any], torch.Tensor]
) -> None:
    folder = model_folder(save)
    encoder = image_encoder(EncoderConfig(image_model=str(folder), image_pooling=pooling))
    assert isinstance(encoder, VisionEncoder)
    vectors = encoder.encode([encoder.prepare(image) for image in PICTURES])
    for row, image in enumerate(PICTURES):
        np.testing.assert_allclose(vectors[row], expected(outputs(folder, image)).numpy()[0], atol=1e-5)
    assert vectors.shape == (3, encoder.dim) == (3, 16)


def test_pooling_changes_the_fingerprint(model_folder: Folder) -> None:
    folder = str(model_folder(save_vit))
    names = {
        image_encoder(EncoderConfig(image_model=folder, image_pooling=how)).fingerprint for how in (None, "cls", "mean")
    }
    assert len(names) == 3


def test_a_pooling_that_the_model_does_not_have_is_refused(model_folder: Folder) -> None:
    encoder = image_encoder(EncoderConfig(image_model=str(model_folder(save_convnext)), image_pooling="cls"))
    with pytest.raises(InputError, match="no first token"):
        encoder.encode([encoder.prepare(PICTURES[0])])


def test_a_pooler_without_weights_is_not_used(model_folder: Folder) -> None:
    folder = str(model_folder(save_vit_without_pooler))
    encoder = image_encoder(EncoderConfig(image_model=folder, image_pooling="pooler"))
    with pytest.raises(InputError, match="has no weights for its pooler"):
        encoder.encode([encoder.prepare(PICTURES[0])])


@pytest.mark.parametrize(("save", "filled"), [(save_clip, False), (save_siglip, True), (save_siglip2, True)])
def test_the_two_towers_of_a_joint_model_give_its_own_features(
    model_folder: Folder, save: Callable[[Path], None], filled: bool
) -> None:
    folder = model_folder(save)
    config = EncoderConfig(text_model=str(folder), image_model=str(folder))
    library = models.transformers()
    model = library.AutoModel.from_pretrained(folder).eval()
    encoder = image_encoder(config)
    assert isinstance(encoder, JointImageEncoder)
    vectors = encoder.encode([encoder.prepare(image) for image in PICTURES])
    processor = library.AutoImageProcessor.from_pretrained(folder, backend="pil")
    words = TextEncoder.of(config)
    texts = ["a red disc", "a very long text about a large old chair that nobody wants to buy any more"]
    given = words.encode(texts)
    names = library.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        for row, image in enumerate(PICTURES):
            pixels = processor(images=image, return_tensors="pt")
            np.testing.assert_allclose(vectors[row], feature(model.get_image_features(**pixels)), atol=1e-5)
        for row, text in enumerate(texts):
            filling = {"padding": "max_length", "max_length": 16} if filled else {"max_length": 77}
            tokens = names(text, truncation=True, return_tensors="pt", **filling)
            assert ("attention_mask" in tokens) == (not filled)
            tokens.pop("token_type_ids", None)
            np.testing.assert_allclose(given[row], feature(model.get_text_features(**tokens)), atol=1e-5)
    assert encoder.dim == words.dim


def feature(given: Any) -> np.ndarray:
    tensor: torch.Tensor = given if isinstance(given, torch.Tensor) else given.pooler_output
    return tensor[0].numpy()


def test_words_and_pictures_share_a_space_in_one_joint_model_only(model_folder: Folder, tmp_path: Path) -> None:
    clip, siglip = str(model_folder(save_clip)), str(model_folder(save_siglip))

    def shared(text: str, image: str) -> bool:
        config = EncoderConfig(text_model=text, image_model=image)
        return share_space(TextEncoder.of(config), image_encoder(config))

    assert shared(clip, clip)
    assert shared(siglip, siglip)
    assert not shared(clip, siglip)
    assert not shared("bundled", "bundled")
    assert not shared("bundled", clip)


def test_a_catalog_says_that_its_vectors_share_a_space(model_folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    picture("crimson").save(tmp_path / "images" / "a.png")
    (tmp_path / "items.csv").write_text("item_id,title,image\ni,red disc,a.png\n")
    shop = read_shop(tmp_path, quarantine=Quarantine())
    clip = str(model_folder(save_clip))
    joint = EncoderConfig(text_model=clip, image_model=clip, engine="torch")
    vectors = encode_catalog(shop, joint, cache_dir=tmp_path / "cache", quarantine=Quarantine())
    assert vectors.shared_space
    apart = encode_catalog(shop, EncoderConfig(engine="torch"), cache_dir=tmp_path / "cache", quarantine=Quarantine())
    assert not apart.shared_space
