from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import structlog
import torch
from numpy.typing import NDArray
from PIL import Image

from features.encoders import engine
from features.encoders.catalog import SAMPLE, encode_catalog
from features.encoders.config import EncoderConfig
from features.encoders.embeddings import ItemVectors
from features.encoders.image import image_encoder
from features.encoders.protocol import Arrays, Encoder
from features.encoders.text import TextEncoder
from features.errors import InputError
from features.quarantine import Quarantine
from features.shop.shop import read_shop

WORDS = ["red", "mug", "of", "the", "large", "wooden", "chair", "and", "a", "blue", "shoe", "with", "small", "stripes"]
N = 20


def words(row: int) -> str:
    rng = np.random.default_rng(row)
    return " ".join(rng.choice(WORDS, size=int(rng.integers(1, 60))))


def photo(row: int) -> Image.Image:
    coarse = np.random.default_rng(row).integers(0, 255, (7, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((90, 120), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "images").mkdir()
    for row in range(N):
        photo(row).save(folder / "images" / f"{row}.jpg")
    rows = [{"item_id": str(row), "title": words(row), "image": f"{row}.jpg"} for row in range(N)]
    pd.DataFrame(rows).to_csv(folder / "items.csv", index=False)
    return folder


def encoded(shop: Path, cache: Path, **settings: Any) -> ItemVectors:
    config = EncoderConfig(text_tokens=200, image_batch=3, device="cpu", **settings)
    quarantine = Quarantine()
    vectors = encode_catalog(read_shop(shop, quarantine=quarantine), config, cache_dir=cache, quarantine=quarantine)
    assert quarantine.total == 0
    return vectors


@pytest.fixture(scope="module")
def plain() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Unit vectors of words and photos, each encoded by itself in the plain way."""
    text, image = TextEncoder.of(EncoderConfig(device="cpu")), image_encoder(EncoderConfig(device="cpu"))
    texts = np.concatenate([text.encode([words(row)]) for row in range(N)])
    images = np.concatenate([image.encode([image.prepare(photo_as_stored(row))]) for row in range(N)])
    return unit(texts), unit(images)


def photo_as_stored(row: int) -> Image.Image:
    stored = io.BytesIO()
    photo(row).save(stored, "JPEG")
    return Image.open(stored).convert("RGB")


def unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = x / np.linalg.norm(x, axis=1, keepdims=True)
    return scaled


@pytest.fixture(scope="module")
def exported(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which both networks were exported."""
    folder = tmp_path_factory.mktemp("exported")
    encoded(shop, folder, engine="onnx", threads=1)
    return folder


@pytest.mark.parametrize(("name", "threads"), [("torch", 1), ("torch", 3), ("onnx", 1), ("onnx", 3), ("auto", 2)])
def test_whatever_runs_the_networks_the_vectors_are_those_of_the_plain_way(
    shop: Path, exported: Path, plain: tuple[NDArray[np.float32], ...], name: Any, threads: int
) -> None:
    cache = exported.parent / f"{exported.name}-{name}-{threads}"
    for network in exported.glob("*/network.onnx"):
        (cache / network.parent.name).mkdir(parents=True)
        shutil.copy(network, cache / network.parent.name)
    vectors = encoded(shop, cache, engine=name, threads=threads)
    for found, expected in zip((vectors.text, vectors.image), plain, strict=True):
        assert found.mask.all()
        assert (found.vectors * expected).sum(axis=1).min() > 0.999


def test_threads_of_torch_are_given_back(shop: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    encoded(shop, tmp_path, engine="torch", threads=2)
    assert torch.get_num_threads() == before


class Blurred(torch.nn.Module):
    """A network whose bfloat16 form loses what matters: differences far smaller than the numbers themselves."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        far = torch.nn.functional.linear(x, torch.eye(x.shape[1])) + 1000.0
        return torch.nn.functional.linear(far, torch.eye(x.shape[1])).float() - 1000.0


class Fake:
    """As much of an encoder as an engine looks at."""

    about = "a network made for this test"
    fingerprint = "fake"
    dynamic = {"x": (0,)}  # noqa: RUF012 - the protocol's type

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network.eval()


@pytest.fixture
def numbers() -> Arrays:
    return {"x": np.random.default_rng(0).normal(size=(SAMPLE, 6)).astype(np.float32)}


def choose(network: torch.nn.Module, numbers: Arrays, folder: Path, name: Any, n: int = 10) -> engine.Engine:
    encoder: Encoder = Fake(network)  # type: ignore[assignment]
    return engine.engine_for(
        encoder, numbers, EncoderConfig(engine=name, threads=1, device="cpu"), n=n, cache_dir=folder
    )


def test_an_engine_that_does_not_keep_the_vectors_is_not_used(
    tmp_path: Path, numbers: Arrays, monkeypatch: Any
) -> None:
    with pytest.raises(InputError, match=r"'bfloat16' cannot be used for a network made for this test: .* >= 0.9999"):
        choose(Blurred(), numbers, tmp_path, "bfloat16")
    monkeypatch.setattr(engine, "has_bfloat16", lambda: True)
    assert choose(Blurred(), numbers, tmp_path, "auto").name == "torch"
    assert choose(torch.nn.Linear(6, 6), numbers, tmp_path, "auto").name == "bfloat16"
    monkeypatch.setattr(engine, "has_bfloat16", lambda: False)
    assert choose(torch.nn.Linear(6, 6), numbers, tmp_path, "auto").name == "torch"


def test_a_network_is_exported_where_there_is_much_to_encode_and_then_always_used(
    tmp_path: Path, numbers: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "has_bfloat16", lambda: False)
    network = torch.nn.Linear(6, 6)
    assert choose(network, numbers, tmp_path, "auto", n=engine.EXPORT_FROM - 1).name == "torch"
    many = choose(network, numbers, tmp_path, "auto", n=engine.EXPORT_FROM)
    assert many.name == "onnx"
    with torch.inference_mode():
        np.testing.assert_allclose(many.run(numbers), network(torch.from_numpy(numbers["x"])).numpy(), atol=1e-5)
    monkeypatch.setattr(engine, "export", lambda *args, **kwargs: pytest.fail("exported again"))
    assert choose(network, numbers, tmp_path, "auto", n=1).name == "onnx"


class Restless(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.randn_like(x)


def test_a_network_that_cannot_be_exported_runs_in_torch_and_says_so(
    tmp_path: Path, numbers: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "has_bfloat16", lambda: False)
    with structlog.testing.capture_logs() as told:
        assert choose(Restless(), numbers, tmp_path, "auto", n=engine.EXPORT_FROM).name == "torch"
    assert [(one["event"], one["engine"]) for one in told] == [("engine not used", "onnx")]
    with pytest.raises(InputError, match="'onnx' cannot be used"):
        choose(Restless(), numbers, tmp_path, "onnx")


@pytest.mark.parametrize(("flags", "has"), [("sse avx2 avx512_bf16 x", True), ("amx_bf16", True), ("avx512f", False)])
def test_native_half_precision_is_read_from_the_cpu_s_flags(tmp_path: Path, flags: str, has: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor: 0\nflags\t: {flags}\n")
    assert engine.has_bfloat16(tmp_path / "cpuinfo") is has
    assert engine.has_bfloat16(tmp_path / "none") is False


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
@pytest.mark.parametrize("side", ["text", "image"])
def test_a_gpu_gives_the_vectors_of_the_cpu(side: str, tmp_path: Path) -> None:
    vectors = {}
    for device in ("cpu", "cuda"):
        config = EncoderConfig(device=device, engine="torch" if device == "cpu" else "auto")
        encoder: Any = TextEncoder.of(config) if side == "text" else image_encoder(config)
        rows = range(SAMPLE)
        sample: Arrays = (
            encoder.inputs(encoder.tokens([words(row) for row in rows]))
            if side == "text"
            else encoder.inputs([encoder.prepare(photo(row)) for row in rows])
        )
        vectors[device] = engine.engine_for(encoder, sample, config, n=SAMPLE, cache_dir=tmp_path).run(sample)
    cosine = (vectors["cpu"] * vectors["cuda"]).sum(axis=1)
    cosine /= np.linalg.norm(vectors["cpu"], axis=1) * np.linalg.norm(vectors["cuda"], axis=1)
    assert cosine.min() >= 0.9998


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_on_a_gpu_a_catalog_is_encoded_as_on_a_cpu_and_in_the_thread_that_asks(
    shop: Path, plain: tuple[NDArray[np.float32], ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran_in, sizes = [], set()
    moved = engine._moved

    def watched(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
        ran_in.append(threading.get_ident())
        if array.ndim == 4:
            sizes.add(len(array))
        return moved(array, device)

    monkeypatch.setattr(engine, "_moved", watched)
    config = EncoderConfig(text_tokens=200, image_batch=3, device="cuda", engine="float16")
    quarantine = Quarantine()
    vectors = encode_catalog(read_shop(shop, quarantine=quarantine), config, cache_dir=tmp_path, quarantine=quarantine)
    assert len(ran_in) > N // 3
    assert set(ran_in) == {threading.get_ident()}
    assert sizes == {3}  # the last two pictures of the 20, too: every size of batch would be planned anew
    for found, expected in zip((vectors.text, vectors.image), plain, strict=True):
        assert (found.vectors * expected).sum(axis=1).min() > 0.999
