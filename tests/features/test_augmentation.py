from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from features.pictures.augment import AugmentConfig, augment, rng_of

NOTHING = AugmentConfig(
    crop_area=1, crop_ratio=1, flip=0, brightness=0, contrast=0, saturation=0, hue=0, blur=0, erase=0
)


def scene() -> Image.Image:
    """A gradient in two directions with a red square at the upper left."""
    y, x = np.mgrid[0:60, 0:80]
    pixels = np.stack([2 * x + 40, 3 * y + 40, 0 * x + 90], axis=-1).astype(np.uint8)
    pixels[5:25, 5:25] = (250, 20, 20)
    return Image.fromarray(pixels)


def only(**settings: object) -> AugmentConfig:
    return AugmentConfig.model_validate(NOTHING.model_dump() | settings)


def variants(settings: AugmentConfig, n: int = 40) -> list[np.ndarray]:
    return [np.asarray(augment(scene(), settings, rng_of(0, "item", epoch))) for epoch in range(n)]


def test_with_nothing_to_do_the_picture_stays_and_is_a_copy() -> None:
    picture = scene()
    same = augment(picture, NOTHING, rng_of(0, "a", 0))
    np.testing.assert_array_equal(same, picture)
    assert same is not picture


def test_item_and_epoch_decide_and_nothing_else() -> None:
    settings = AugmentConfig()

    def pixels(seed: int, item: str, epoch: int) -> bytes:
        return augment(scene(), settings, rng_of(seed, item, epoch)).tobytes()

    assert pixels(1, "a", 3) == pixels(1, "a", 3)
    assert len({pixels(1, "a", 3), pixels(1, "a", 4), pixels(1, "b", 3), pixels(2, "a", 3)}) == 4


def test_the_size_and_the_given_picture_stay() -> None:
    picture = scene()
    before = picture.tobytes()
    for epoch in range(30):
        changed = augment(picture, AugmentConfig(hue=0.1, blur=1, erase=1), rng_of(0, "a", epoch))
        assert (changed.size, changed.mode) == (picture.size, "RGB")
    assert picture.tobytes() == before


def test_a_crop_shows_a_part_enlarged_and_at_least_the_share_asked_for() -> None:
    areas = []
    for pixels in variants(only(crop_area=0.5, crop_ratio=1.0)):
        # red rises by 2 a column over the scene: what is left of the rise tells the width of the part
        row = pixels[-1, :, 0].astype(int)
        areas.append(((row[-1] - row[0]) / (2 * 79)) ** 2)
    assert 0.45 < min(areas) < 0.65
    assert 0.9 < max(areas) <= 1.02
    stretched = [pixels[-1, -1].astype(int) - pixels[-1, 0] for pixels in variants(only(crop_area=0.5, crop_ratio=2.0))]
    assert len({int(one[0]) for one in stretched}) > 10


def test_about_the_share_asked_for_is_mirrored() -> None:
    mirrored = np.asarray(scene())[:, ::-1]
    hits = [np.array_equal(pixels, mirrored) for pixels in variants(only(flip=0.3), 200)]
    assert 0.2 < np.mean(hits) < 0.4
    assert all(np.array_equal(pixels, mirrored) for pixels in variants(only(flip=1.0), 5))


@pytest.mark.parametrize("setting", ["brightness", "contrast", "saturation"])
def test_colors_change_within_the_range_and_their_own_way(setting: str) -> None:
    original = np.asarray(scene()).astype(float)

    def measure(pixels: np.ndarray) -> float:
        gray = pixels @ [0.299, 0.587, 0.114]
        match setting:
            case "brightness":
                return float(gray.mean())
            case "contrast":
                return float(gray.std())
            case _:
                return float((pixels.max(axis=-1) - pixels.min(axis=-1)).mean())

    ratios = [measure(pixels.astype(float)) / measure(original) for pixels in variants(only(**{setting: 0.3}))]
    assert 0.67 < min(ratios) < 0.8
    assert 1.15 < max(ratios) < 1.33


def test_hue_turns_red_into_other_colors_but_not_far() -> None:
    square = [pixels[15, 15].astype(int) for pixels in variants(only(hue=0.08))]
    assert max(one[1] for one in square) > 60  # towards yellow
    assert max(one[2] for one in square) > 60  # towards purple
    assert min(one[0] for one in square) > 200


def test_blur_softens_edges_and_keeps_the_mean() -> None:
    sharp = np.asarray(scene()).astype(float)
    soft = [pixels.astype(float) for pixels in variants(only(blur=1.0, blur_radius=0.05), 10)]
    edge = [np.abs(np.diff(pixels[15, :, 0])).max() for pixels in soft]
    assert min(edge) < 0.5 * np.abs(np.diff(sharp[15, :, 0])).max()
    assert all(abs(pixels.mean() - sharp.mean()) < 1.5 for pixels in soft)


def test_a_rectangle_of_the_size_asked_for_is_hidden() -> None:
    original = np.asarray(scene())
    for pixels in variants(only(erase=1.0, erase_area=(0.1, 0.15))):
        changed = (pixels != original).any(axis=-1)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        box = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.mean() > 0.99
        assert 0.09 < changed.mean() < 0.16
    assert not any((pixels != original).any() for pixels in variants(only(erase=0.0), 3))


def test_tiny_pictures_survive_and_wrong_settings_do_not() -> None:
    for size in ((1, 1), (3, 1), (2, 7)):
        changed = augment(Image.new("RGB", size), AugmentConfig(blur=1, erase=1, hue=0.2), rng_of(0, "a", 0))
        assert changed.size == size
    for wrong in ({"crop_area": 0}, {"hue": 0.6}, {"erase_area": (0.5, 0.1)}, {"flipp": 1}):
        with pytest.raises(ValidationError):
            AugmentConfig.model_validate(wrong)
