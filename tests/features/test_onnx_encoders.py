from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from features.encoders.config import EncoderConfig
from features.encoders.image import image_encoder
from features.encoders.text import TextEncoder
from features.errors import InputError
from features.onnx.encoder_export import exported_encoders
from features.onnx.encoders import QueryEncoders
from features.onnx.export import export
from features.onnx.picture import PictureSpec, pixels
from tests.features.clip import write_clip


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def opened(config: EncoderConfig, cache: Path, folder: Path) -> QueryEncoders:
    folder.mkdir(exist_ok=True)
    for name, content in exported_encoders(config, text=True, image=True, cache_dir=cache).items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return QueryEncoders.open(folder)


@pytest.fixture(scope="module")
def queries(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> QueryEncoders:
    return opened(EncoderConfig(), cache, tmp_path_factory.mktemp("onnx"))


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def test_a_query_text_gets_the_vector_it_would_have_in_the_catalog(queries: QueryEncoders) -> None:
    assert queries.text is not None
    texts = ["red shoes", "  red shoes ", "ein grünes Fahrrad für Kinder", "word " * 400, "x"]
    expected = unit(TextEncoder.of(EncoderConfig()).encode([text.strip() for text in texts]))
    together = queries.text.encode(texts)
    assert np.abs(together - expected).max() < 1e-4
    for row, text in enumerate(texts):
        np.testing.assert_allclose(queries.text.encode([text])[0], together[row], atol=1e-5)


@pytest.mark.parametrize(
    ("text", "strange", "letters"),
    [("红色马克杯", 5, 5), ("Nike 运动鞋", 3, 7), ("red mug 😀 42mm", 0, 8), ("Café Übergröße", 0, 13), ("42", 0, 0)],
)
def test_letters_of_a_writing_that_the_encoder_has_no_tokens_for_are_counted(
    queries: QueryEncoders, text: str, strange: int, letters: int
) -> None:
    assert queries.text is not None
    assert queries.text.strange_letters([text]) == (strange, letters)
    assert queries.text.strange_letters([text, "red"]) == (strange, letters + 3)


def test_a_query_picture_gets_the_vector_it_would_have_in_the_catalog(queries: QueryEncoders) -> None:
    assert queries.image is not None
    encoder = image_encoder(EncoderConfig())
    photos = [photo(300, 200), photo(181, 403, 1), photo(50, 61, 2)]
    expected = unit(encoder.encode([encoder.prepare(one) for one in photos]))
    assert np.abs(queries.image.encode(photos) - expected).max() < 1e-3
    assert (queries.image.encode(photos[:1]) @ expected[0]).item() > 0.9999


@pytest.mark.parametrize("size", [(224, 224), (256, 256), (301, 257), (199, 640), (1000, 31), (5, 7)])
def test_pictures_are_prepared_as_for_the_catalog_to_the_pixel(size: tuple[int, int], queries: QueryEncoders) -> None:
    assert queries.image is not None
    expected = image_encoder(EncoderConfig()).prepare(photo(*size))
    np.testing.assert_array_equal(pixels(photo(*size), queries.image.spec.picture), expected)


def test_what_was_exported_before_is_not_exported_again(
    cache: Path, queries: QueryEncoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise AssertionError("exported again")

    monkeypatch.setattr("features.onnx.encoder_export.export", refused)
    files = exported_encoders(EncoderConfig(), text=True, image=False, cache_dir=cache)
    assert sorted(files) == ["encoders.json", "text_encoder.onnx", "tokenizer.json"]
    assert json.loads(bytes(files["encoders.json"]))["image"] is None


def test_a_joint_model_is_exported_with_its_own_preparation(tmp_path: Path) -> None:
    folder = tmp_path / "joint"
    write_clip(folder, size={"shortest_edge": 40}, image_std=[0.3, 0.2, 0.4])
    joint = EncoderConfig(text_model=str(folder), image_model=str(folder))
    queries = opened(joint, tmp_path / "cache", tmp_path / "onnx")
    assert queries.text is not None
    assert queries.image is not None
    encoder = image_encoder(joint)
    expected = unit(encoder.encode([encoder.prepare(photo(90, 60))]))
    np.testing.assert_allclose(queries.image.encode([photo(90, 60)]), expected, atol=2e-3)
    texts = ["blue mug", "a very long text about nothing in particular"]
    np.testing.assert_allclose(queries.text.encode(texts), unit(TextEncoder.of(joint).encode(texts)), atol=1e-4)


def test_a_network_that_computes_something_else_once_exported_is_refused(tmp_path: Path) -> None:
    class Restless(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.randn_like(x)

    with pytest.raises(ValueError, match="must give the original's numbers"):
        export(Restless(), {"x": torch.ones(3, 4)}, tmp_path / "restless.onnx", dynamic={"x": (0,)})
    assert not (tmp_path / "restless.onnx").exists()


def test_a_crop_larger_than_the_picture_is_an_error() -> None:
    spec = PictureSpec(resize=(10, 10), resample="bicubic", crop=(12, 12), mean=(0, 0, 0), std=(1, 1, 1))
    with pytest.raises(ValueError, match="crop of 12 x 12 must fit into the resized 10 x 10"):
        pixels(photo(50, 50), spec)


@pytest.mark.parametrize(("texts", "rule"), [([], "none is given"), (["a", "  "], "text 1 is")])
def test_a_blank_query_is_refused(texts: list[str], rule: str, queries: QueryEncoders) -> None:
    assert queries.text is not None
    with pytest.raises(ValueError, match=rule):
        queries.text.encode(texts)


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"encoders\.json: cannot be read"):
        QueryEncoders.open(tmp_path)
    image = {"encoder": "x", "dim": 4, "picture": {"resize": 4, "resample": "bicubic", "crop": None}}
    image["picture"] |= {"mean": [0, 0, 0], "std": [1, 1, 1]}  # type: ignore[operator]
    (tmp_path / "encoders.json").write_text(json.dumps({"text": None, "image": image}))
    (tmp_path / "image_encoder.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match=r"image_encoder\.onnx: cannot be opened as a network"):
        QueryEncoders.open(tmp_path)


def test_queries_are_encoded_without_torch() -> None:
    code = (
        "import sys, features.onnx.encoders; print([m for m in ('torch', 'transformers', 'timm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
