"""Pictures part by part and words token by token, with the bundled networks."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from features.encoders import local
from features.encoders.config import EncoderConfig
from features.encoders.described import short_hash
from features.encoders.local import LocalConfig, SceneEncoder, read_pictures
from features.encoders.scenes import STEPS, color_histograms, to_lab
from features.encoders.text import TextEncoder
from features.encoders.token_states import read_tokens
from features.quarantine import Quarantine

SMALL = LocalConfig(height=64, width=96, tokens=8)


def plain(*rgb: int) -> torch.Tensor:
    return (torch.tensor(rgb, dtype=torch.float32) / 255).view(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((128, 128, 128), (53.59, 0, 0)),
    ],
)
def test_colors_are_those_of_the_tables(rgb: tuple[int, int, int], lab: tuple[float, float, float]) -> None:
    assert to_lab(plain(*rgb)).flatten().tolist() == pytest.approx(lab, abs=0.3)


def test_a_histogram_counts_each_color_but_not_the_white_around() -> None:
    picture = torch.ones(1, 3, 8, 8)
    picture[:, :, 2:6, 2:6] = plain(255, 0, 0)
    picture[:, :, 2:3, 2:6] = plain(0, 0, 255)
    shown, middle = color_histograms(to_lab(picture)).view(2, STEPS**3)
    assert sorted((shown[shown > 0] ** 2).tolist()) == pytest.approx([1 / 4, 3 / 4])
    torch.testing.assert_close(middle, shown)  # the middle is all that is not white
    nothing = color_histograms(to_lab(torch.ones(1, 3, 8, 8)))
    assert nothing[0, : STEPS**3].sum() == 0


@pytest.fixture(scope="module")
def encoder() -> SceneEncoder:
    return SceneEncoder(SMALL, torch.device("cpu"))


def half_red() -> Image.Image:
    picture = Image.new("RGB", (96, 64), "white")
    picture.paste((200, 30, 30), (64, 0, 96, 32))
    return picture


def test_patches_stand_row_after_row_where_they_are_in_the_picture(encoder: SceneEncoder) -> None:
    scene, patches = encoder.encode([encoder.prepare(half_red())])
    assert patches.shape == (1, 2 * 3, 326)
    redness = patches[0, :, 321]  # after the 320 channels: lightness, green to red, blue to yellow
    assert int(redness.argmax()) == 2
    assert redness[2] > 10 * np.abs(np.delete(redness, 2)).max()
    assert scene.shape[1] == 6916
    assert np.isfinite(scene).all()


def test_the_last_layer_is_that_of_the_bundled_encoder(encoder: SceneEncoder) -> None:
    from features.encoders.bundled import image_network

    pixels = encoder.prepare(half_red())
    with torch.inference_mode():
        pooled = image_network()(2 * torch.from_numpy(pixels)[None].float() / 255 - 1)[0].numpy()
    scene = encoder.encode([pixels])[0][0]
    before = 2 * (40 + 112 + 192 + 320)
    np.testing.assert_allclose(scene[before : before + 1280], pooled, atol=2e-4)


class Album:
    """Pictures by name."""

    def __init__(self, pictures: dict[str, bytes]) -> None:
        self.pictures = pictures

    def names(self) -> set[str]:
        return set(self.pictures)

    def read(self, name: str) -> bytes:
        return self.pictures[name]

    def fingerprint(self) -> str:
        return ""


def png(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def test_each_picture_is_looked_at_once_and_the_unreadable_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    red, blue = png(half_red()), png(Image.new("RGB", (50, 50), "blue"))
    album = Album({"a": red, "b": blue, "c": red, "d": b"no picture"})
    looked: list[int] = []
    real: Callable[..., object] = SceneEncoder.encode

    def counted(self: SceneEncoder, batch: list[np.ndarray]) -> object:
        looked.append(len(batch))
        return real(self, batch)

    monkeypatch.setattr(local.SceneEncoder, "encode", counted)
    names = ["c", "", "a", "d", "b"]

    def read(*, patches: bool) -> local.Pictures:
        return read_pictures(names, album, SMALL, patches=patches, cache_dir=tmp_path, quarantine=refused)

    refused = Quarantine()
    first = read(patches=False)
    assert looked == [2]
    assert first.patches.shape == (5, 0, 0)
    assert first.mask.tolist() == [True, False, True, False, True]
    assert [(one.file, one.row) for one in refused.refusals] == [("d", 3)]
    assert first.content == [short_hash(red), "", short_hash(red), "", short_hash(blue)]
    assert (first.scene[0] == first.scene[2]).all()
    assert not first.scene[1].any()
    second = read(patches=True)
    assert looked == [2, 2]  # scenes are known, patches are not
    third = read(patches=True)
    assert looked == [2, 2]
    np.testing.assert_array_equal(third.scene, first.scene)
    np.testing.assert_array_equal(third.patches, second.patches)
    assert second.patches.shape == (5, 6, 326)


def test_tokens_are_those_of_the_text_alone_whatever_it_is_read_with(tmp_path: Path) -> None:
    encoder = TextEncoder.of(EncoderConfig())
    texts = ["red shoe", "a blue running shoe for winter days and nights", "red shoe", ""]
    read = read_tokens(texts, encoder, SMALL, cache_dir=tmp_path)
    assert read.states.shape == (4, 8, 384)
    assert read.words[0] == ["[CLS]", "red", "shoe", "[SEP]"]
    assert read.mask.sum(axis=1).tolist() == [4, 8, 4, len(read.words[3])]
    assert not read.states[0, 4:].any()
    mean = read.states[0, :4].astype(np.float32).mean(axis=0)
    own = encoder.encode(["red shoe"])[0]
    assert float(mean @ own / np.linalg.norm(mean) / np.linalg.norm(own)) > 0.999
    again = read_tokens(texts[::-1], encoder, SMALL, cache_dir=tmp_path)
    np.testing.assert_array_equal(again.states[::-1], read.states)


def test_colors_are_not_rounded_where_the_network_multiplies_in_bfloat16(encoder: SceneEncoder) -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (4, 3, 64, 96), dtype=np.uint8)).float() / 255
    n_color = 2 * STEPS**3 + 3 * 8 * 6 + 3 * 4 * 3
    with torch.inference_mode():
        exact = encoder.network(pixels)[0][:, -n_color:]
        with torch.autocast("cpu", torch.bfloat16):
            mixed = encoder.network(pixels)[0][:, -n_color:]
    torch.testing.assert_close(mixed, exact)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_a_gpu_describes_pictures_as_the_cpu_does(encoder: SceneEncoder) -> None:
    batch = list(np.random.default_rng(0).integers(0, 255, (4, 3, 64, 96), dtype=np.uint8))
    for mine, gpus in zip(encoder.encode(batch), SceneEncoder(SMALL, torch.device("cuda")).encode(batch), strict=True):
        assert np.linalg.norm(mine - gpus) / np.linalg.norm(mine) < 5e-3  # convolutions may run in TF32
