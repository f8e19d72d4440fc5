import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from features.synthetic import assortment as shop
from features.synthetic.outline import band, box, moved, oval, smooth, turned
from features.synthetic.paint import _COLORS, Weave, glyph
from features.synthetic.pictures import Look, _mask, draw

KIND = {kind.name: code for code, kind in enumerate(shop.KINDS)}
PATTERN = {name: code for code, name in enumerate(shop.PATTERNS)}


def pixels(look: Look) -> NDArray[np.float64]:
    return np.asarray(Image.open(io.BytesIO(draw(look))), dtype=float)


def area(outline: NDArray[np.float64]) -> float:
    x, y = outline.T
    return abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2


def test_a_picture_is_a_256_pixel_color_jpeg() -> None:
    image = Image.open(io.BytesIO(draw(Look(0, 0, 0, 0, (1,)))))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (256, 256))


@pytest.mark.parametrize("kind", KIND)
def test_the_same_look_is_drawn_to_the_same_bytes_and_another_seed_varies_it(kind: str) -> None:
    look = Look(KIND[kind], 3, 1, 2, (5, 1))
    assert draw(look) == draw(look)
    other = pixels(Look(KIND[kind], 3, 1, 2, (5, 2)))
    assert np.mean(np.abs(pixels(look) - other).max(axis=2) > 12) > 0.05


@pytest.mark.parametrize("color", shop.COLORS)
def test_the_color_of_a_plain_product_is_the_planted_one(color: str) -> None:
    names = list(_COLORS)
    palette = np.stack([_COLORS[name] for name in names]) * 255
    for seed in range(4):
        shirt = pixels(Look(KIND["t-shirt"], shop.COLORS.index(color), PATTERN["plain"], 0, (seed,)))
        cloth = np.median(shirt[140:190, 105:151].reshape(-1, 3), axis=0)
        assert names[np.abs(palette - cloth).sum(axis=1).argmin()] == color


@pytest.mark.parametrize("kind", KIND)
@pytest.mark.parametrize("pattern", ["stripes", "dots", "checks", "zigzag"])
def test_a_pattern_changes_a_visible_share_of_the_product_and_nothing_else(kind: str, pattern: str) -> None:
    plain = pixels(Look(KIND[kind], 5, PATTERN["plain"], 0, (8,)))
    woven = pixels(Look(KIND[kind], 5, PATTERN[pattern], 0, (8,)))
    changed = np.abs(plain - woven).max(axis=2) > 25
    assert 0.015 < changed.mean() < 0.5
    assert not changed[:8].any()
    assert not changed[:, :8].any()


@pytest.mark.parametrize("kind", KIND)
def test_the_brand_shows_in_a_small_mark_only(kind: str) -> None:
    first, second = (pixels(Look(KIND[kind], 5, 0, brand, (8,))) for brand in (0, 4))
    changed = np.argwhere(np.abs(first - second).max(axis=2) > 40)
    assert 15 < len(changed) < 0.02 * 256 * 256
    assert (np.ptp(changed, axis=0) < 40).all()


def test_every_pair_of_brand_marks_can_be_told_apart() -> None:
    marks = [pixels(Look(KIND["mug"], 10, 0, brand, (8,))).mean(axis=2) for brand in range(len(shop.BRANDS))]
    for first in range(len(marks)):
        for second in range(first):
            assert np.sum(np.abs(marks[first] - marks[second]) > 60) > 10
    assert len(shop.GLYPHS) == len(shop.BRANDS) == len(set(shop.GLYPHS))


def test_edges_are_anti_aliased_and_coverage_is_the_area() -> None:
    drawn = _mask([oval(100.3, 90.7, 40, 25)], [oval(100.3, 90.7, 10, 10)])
    assert drawn is not None
    mask, (left, top, right, bottom) = drawn
    assert mask.shape == (bottom - top, right - left)
    assert mask.sum() == pytest.approx(np.pi * (40 * 25 - 100), rel=0.02)
    soft = np.mean((mask > 0.05) & (mask < 0.95))
    assert 0.02 < soft < 0.2
    assert _mask([oval(-300, 0, 5, 5)], []) is None


def weave(name: str, period: float, turn: float = 0.0, shift: float = 0.0) -> Weave:
    return Weave(name, period, turn, shift)


def cover(pattern: Weave, *points: tuple[float, float]) -> list[float]:
    x, y = (np.array(column, dtype=np.float32) for column in zip(*points, strict=True))
    share = pattern.cover(x, y, 0.001)
    assert share is not None
    return [round(float(value), 3) for value in share]


def test_plain_covers_nothing() -> None:
    zero = np.zeros(3, dtype=np.float32)
    assert weave("plain", 1.0).cover(zero, zero, 0.01) is None


def test_stripes_repeat_across_and_run_along() -> None:
    flat = weave("stripes", 0.4)  # a stripe of 0.2 around every multiple of 0.4
    assert cover(flat, (0, 0), (0.7, 0), (0, 0.09), (0, 0.11), (0, 0.2), (0, 0.4)) == [1, 1, 1, 0, 0, 1]
    upright = weave("stripes", 0.4, turn=90.0)
    assert cover(upright, (0, 0), (0, 0.7), (0.11, 0), (0.2, 0), (0.4, 0)) == [1, 1, 0, 0, 1]


def test_checks_are_full_where_two_stripes_cross_and_half_where_one_runs() -> None:
    assert cover(weave("checks", 0.4), (0, 0), (0.2, 0), (0, 0.2), (0.2, 0.2), (0.4, 0.4)) == [1, 0.5, 0.5, 0, 1]


def test_dots_stand_in_rows_moved_by_half() -> None:
    # centers at (0, 0.2) and half a period further at (0.2, 0.6); radius 0.58 * 0.2
    dots = weave("dots", 0.4)
    assert cover(dots, (0, 0.2), (0.1, 0.2), (0.13, 0.2), (0.2, 0.2), (0.2, 0.6), (0, 0.6)) == [1, 1, 0, 0, 1, 0]


def test_a_zigzag_follows_its_wave() -> None:
    zigzag = weave("zigzag", 0.4)  # v + 1.1 |u| = 0 is the middle of a line, for |u| <= 0.24
    assert cover(zigzag, (0, 0), (0.2, -0.22), (-0.2, -0.22), (0.2, 0.0), (0, 0.2)) == [1, 1, 1, 0, 0]


def test_an_edge_is_a_ramp_over_one_pixel() -> None:
    share = weave("stripes", 0.4).cover(np.zeros(3, np.float32), np.array([0.095, 0.1, 0.105], np.float32), 0.02)
    assert share == pytest.approx([0.75, 0.5, 0.25], abs=1e-3)


def test_a_rounded_box_lacks_only_its_corners() -> None:
    assert area(box(0, 0, 4, 2)) == pytest.approx(8)
    assert area(box(0, 0, 4, 2, 0.5)) == pytest.approx(8 - (4 - np.pi) * 0.25, rel=0.01)


def test_a_turned_vessel_is_its_own_mirror_and_a_straight_one_a_rectangle() -> None:
    vessel = turned([(0.3, -0.5), (0.5, 0.0), (0.2, 0.5)])
    assert vessel == pytest.approx((vessel * (-1, 1))[::-1])
    assert area(turned([(0.5, 0.0), (0.5, 0.5), (0.5, 1.0)])) == pytest.approx(1.0)


def test_a_band_has_its_width_and_a_smooth_curve_passes_its_points() -> None:
    assert area(band([(0, 0), (1, 0), (2, 0)], 0.3)) == pytest.approx(0.6)
    points = [(0.0, 0.0), (1.0, 0.5), (0.5, 1.5)]
    curve = smooth(points)
    assert all(np.hypot(*(curve - point).T).min() < 1e-12 for point in points)


def test_an_outline_is_scaled_then_turned_clockwise_then_moved() -> None:
    assert moved(np.array([[1.0, 0.0]]), 5, 7, scale=2, turn=90) == pytest.approx(np.array([[5.0, 9.0]]))


def test_every_mark_stays_within_its_badge() -> None:
    for name in shop.GLYPHS:
        outlines, _ = glyph(name)
        assert np.hypot(*np.concatenate(outlines).T).max() * 0.66 < 1
