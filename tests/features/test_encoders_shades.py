"""Shades of what a picture shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from features.encoders.shades import (
    COARSE,
    FRAME,
    PARTS_DIM,
    WHOLE_DIM,
    ShadeEncoder,
    foreground,
    frame_parts,
    soft_shares,
)

WHITE, RED = np.array([100, 0, 0], np.float32), np.array([50, 60, 40], np.float32)


def shades_of(draw: dict[tuple[int, int, int, int], str], background: str) -> np.ndarray:
    picture = Image.new("RGB", (60, 80), background)
    for box, paint in draw.items():
        ImageDraw.Draw(picture).rectangle(box, fill=paint)
    encoder = ShadeEncoder()
    return encoder.encode([encoder.prepare(picture)])[0][0]


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).sum() / 2)


def test_background_is_what_hangs_together_with_the_border_and_no_white_within_the_product() -> None:
    lab = np.broadcast_to(WHITE, (20, 20, 3)).copy()
    lab[5:15, 4:12] = RED
    lab[8:10, 6:8] = WHITE  # a white print on a red shirt
    expected = np.zeros((20, 20), dtype=bool)
    expected[5:15, 4:12] = True
    np.testing.assert_array_equal(foreground(lab), expected)


def test_a_picture_without_anything_but_background_is_all_shown() -> None:
    assert foreground(np.broadcast_to(WHITE, (20, 20, 3)).copy()).all()


def test_parts_follow_the_frame_around_what_is_shown() -> None:
    shown = np.zeros((20, 20), dtype=bool)
    shown[6:18, 2:10] = True  # three parts of 4 lines, two of 4 columns
    part = frame_parts(shown)
    assert FRAME == (3, 2)
    assert part[7, 3] == 0
    assert part[7, 8] == 1
    assert part[12, 3] == 2
    assert part[16, 8] == 5
    assert part[0, 0] == 0  # outside: the nearest


def test_a_color_between_two_steps_is_divided_among_them_by_nearness() -> None:
    light = 14.0 * 2 + 3.5  # a quarter of the way from the third step of lightness to the fourth
    at = torch.tensor([[[light, -60.0, -60.0]]])
    shares = soft_shares(at, torch.ones(1, 1), COARSE)[0] ** 2
    found = torch.nonzero(shares > 1e-6).flatten().tolist()
    steps = 9 * 9
    assert found == [2 * steps, 3 * steps]
    assert shares[found].tolist() == pytest.approx([0.75, 0.25], abs=1e-5)


def test_the_background_of_a_product_does_not_change_its_shades() -> None:
    shirt = {(15, 20, 45, 60): "#a01020"}
    assert apart(shades_of(shirt, "white"), shades_of(shirt, "#c0d8ff")) < 0.02
    assert apart(shades_of(shirt, "white"), shades_of({(15, 20, 45, 60): "#102080"}, "white")) > 1.9


def test_parts_tell_what_the_whole_does_not() -> None:
    above = shades_of({(20, 10, 40, 39): "red", (20, 40, 40, 69): "blue"}, "white")
    below = shades_of({(20, 10, 40, 39): "blue", (20, 40, 40, 69): "red"}, "white")
    assert len(above) == WHOLE_DIM + PARTS_DIM
    assert apart(above[:WHOLE_DIM], below[:WHOLE_DIM]) < 0.01
    assert apart(above[WHOLE_DIM:], below[WHOLE_DIM:]) > 0.5
