"""Vision and joint models, small and with random weights, against what transformers gives for the same picture."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from features.encoders import bundled, models
from features.encoders.catalog import encode_catalog
from features.encoders.config import EncoderConfig
from features.encoders.image import JointImageEncoder, VisionEncoder, image_encoder
from features.encoders.protocol import share_space
from features.encoders.text import TextEncoder
from features.errors import InputError
from features.quarantine import Quarantine
from features.shop.shop import read_shop

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
SIZE = {"height": 32, "width": 32}


def picture(color: str, size: tuple[int, int] = (48, 64)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((5, 8, 40, 50), fill=color)
    return image


PICTURES = [picture("crimson"), picture("navy", (90, 40)), picture("olive", (20, 20))]


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


Folder = Callable[[Callable[[Path], None]], Path]


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
