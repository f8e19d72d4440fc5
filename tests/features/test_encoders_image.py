from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from features.encoders import bundled, models
from features.encoders.config import EncoderConfig
from features.encoders.image import JointImageEncoder, TimmEncoder, image_encoder
from features.encoders.text import TextEncoder
from features.errors import InputError
from tests.features.clip import write_clip


def picture(color: str, size: tuple[int, int] = (200, 300)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((20, 30, 150, 160), fill=color)
    return image


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP with random weights and the bundled tokenizer, as a user's own folder."""
    folder = tmp_path_factory.mktemp("joint")
    write_clip(folder, size={"shortest_edge": 32})
    return folder


def test_bundled_preparation_is_that_of_the_original() -> None:
    # shorter side to 224 / 0.875 = 256, bicubic, then the middle 224 x 224
    image = picture("crimson")
    resized = image.resize((256, 384), Image.Resampling.BICUBIC)
    expected = np.asarray(resized.crop((16, 80, 240, 304))).transpose(2, 0, 1)
    prepared = image_encoder(EncoderConfig()).prepare(image)
    assert prepared.dtype == np.uint8
    np.testing.assert_array_equal(prepared, expected)


def test_prepared_pictures_are_put_together_in_the_order_in_which_convolutions_read_them() -> None:
    encoder = image_encoder(EncoderConfig(device="cpu"))
    prepared = [encoder.prepare(picture(color)) for color in ("crimson", "navy")]
    pixels = encoder.inputs(prepared)["pixels"]
    np.testing.assert_array_equal(pixels, np.stack([np.asarray(one) for one in prepared]))
    assert torch.from_numpy(pixels).is_contiguous(memory_format=torch.channels_last)


def test_bundled_vectors_are_the_network_s_features_and_do_not_depend_on_the_batch() -> None:
    encoder = image_encoder(EncoderConfig(device="cpu"))
    prepared = [encoder.prepare(picture(color)) for color in ("crimson", "navy")]
    vectors = encoder.encode(prepared)
    assert vectors.shape == (2, encoder.dim) == (2, 1280)
    with torch.inference_mode():
        pixels = torch.from_numpy(prepared[1].astype(np.float32)[None]) / 127.5 - 1
        expected = bundled.image_network()(pixels)[0].numpy()
    np.testing.assert_allclose(vectors[1], expected, atol=1e-3)
    np.testing.assert_allclose(encoder.encode(prepared[1:])[0], vectors[1], atol=1e-3)
    assert not np.allclose(vectors[0], vectors[1], atol=0.1)


def test_a_local_timm_folder_is_read_with_its_own_preparation(tmp_path: Path) -> None:
    timm = models.timm()
    torch.manual_seed(0)
    network = timm.create_model("test_vit", pretrained=False, num_classes=5).eval()
    timm.models.save_for_hf(network, tmp_path, safe_serialization=True)
    encoder = image_encoder(EncoderConfig(image_model=str(tmp_path)))
    assert isinstance(encoder, TimmEncoder)
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=network), is_training=False)
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features(transform(picture("navy"))[None]), pre_logits=True)
    given = encoder.encode([encoder.prepare(picture("navy"))])
    np.testing.assert_allclose(given, expected.numpy(), atol=1e-4)
    assert encoder.dim == given.shape[1]
    assert encoder.fingerprint != image_encoder(EncoderConfig()).fingerprint


def test_a_joint_model_puts_words_and_pictures_into_one_space(joint: Path) -> None:
    encoder = image_encoder(EncoderConfig(image_model=str(joint)))
    assert isinstance(encoder, JointImageEncoder)
    vectors = encoder.encode([encoder.prepare(picture(color)) for color in ("crimson", "navy")])
    words = TextEncoder.of(EncoderConfig(text_model=str(joint))).encode(["a red disc"])
    assert vectors.shape[1] == words.shape[1] == encoder.dim == 12
    library = models.transformers()
    model = library.CLIPModel.from_pretrained(joint).eval()
    pixels = library.CLIPImageProcessor.from_pretrained(joint)(picture("navy"), return_tensors="pt")
    with torch.inference_mode():
        expected = model.visual_projection(model.vision_model(**pixels).pooler_output)
    np.testing.assert_allclose(vectors[1], expected[0].numpy(), atol=1e-4)


def test_a_text_model_is_no_image_model() -> None:
    encoder = image_encoder(EncoderConfig(image_model=str(bundled.text_folder())))
    with pytest.raises(InputError, match="image_model"):
        encoder.prepare(picture("navy"))


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architecture": "test_vit"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"\*\.safetensors"):
        image_encoder(EncoderConfig(image_model=str(tmp_path)))
