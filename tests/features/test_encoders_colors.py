"""Colors of pictures without a network."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from features.encoders import colors as colors_module
from features.encoders.colors import read_colors
from features.encoders.scenes import COLOR_DIM, STEPS, color_parts
from features.quarantine import Quarantine

PAINTS = {"red": (200, 20, 20), "navy": (10, 10, 90)}


class Album:
    def names(self) -> set[str]:
        return {"red", "navy", "broken"}

    def read(self, name: str) -> bytes:
        if name == "broken":
            return b"no picture"
        data = io.BytesIO()
        Image.new("RGB", (60, 80), PAINTS[name]).save(data, "PNG")
        return data.getvalue()

    def fingerprint(self) -> str:
        return ""


def test_each_picture_is_described_by_its_colors_and_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    quarantine = Quarantine()
    found = read_colors(["red", "", "broken", "navy", "red"], Album(), cache_dir=tmp_path, quarantine=quarantine)
    assert found.shape == (5, COLOR_DIM)
    assert quarantine.total == 1
    assert not found[[1, 2]].any()
    np.testing.assert_array_equal(found[0], found[4])
    for row, paint in ((0, "red"), (3, "navy")):
        even = torch.tensor(PAINTS[paint]).view(1, 3, 1, 1).expand(1, 3, 128, 128).float() / 255
        np.testing.assert_allclose(found[row], color_parts(even)[0][0].numpy(), atol=2e-3)
        histogram = found[row, : STEPS**3].astype(np.float32)
        assert np.flatnonzero(histogram).size == 1  # one color, all of it in one step
        assert histogram.max() == pytest.approx(1)


def test_what_was_looked_at_once_is_not_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_colors(["red", "navy"], Album(), cache_dir=tmp_path, quarantine=Quarantine())
    monkeypatch.setattr(colors_module, "color_parts", lambda pixels: pytest.fail("looked at again"))
    again = read_colors(["navy", "red"], Album(), cache_dir=tmp_path, quarantine=Quarantine())
    np.testing.assert_array_equal(again, first[::-1])


def test_a_shop_without_pictures_has_no_colors(tmp_path: Path) -> None:
    found = read_colors(["", "x"], None, cache_dir=tmp_path, quarantine=Quarantine())
    assert found.shape == (2, COLOR_DIM)
    assert not found.any()
