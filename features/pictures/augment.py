"""A picture as training sees it, a little different each time: cropped, mirrored, colored, blurred or half hidden."""

from __future__ import annotations

import zlib
from typing import Annotated

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from pydantic import Field, model_validator

from features.section import Section

Share = Annotated[float, Field(ge=0, le=1)]


class AugmentConfig(Section):
    """What may happen to a picture. Everything at 0 (and crop_area 1) leaves it as it is."""

    crop_area: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Least share of the picture's area that a crop keeps."""

    crop_ratio: Annotated[float, Field(ge=1, le=4)] = 1.2
    """Most that a crop is stretched: its sides' ratio is the picture's times a factor between 1 / this and this."""

    flip: Share = 0.5
    """Share of pictures mirrored left to right. A shop whose pictures hold writing may set 0."""

    brightness: Share = 0.2
    """Light is multiplied by a factor between 1 - this and 1 + this."""

    contrast: Share = 0.2
    """Likewise the distance from the mean gray."""

    saturation: Share = 0.2
    """Likewise the distance from gray. Small, as color is what many listings are about."""

    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Colors are turned by up to this share of the color circle, either way."""

    blur: Share = 0.1
    """Share of pictures blurred."""

    blur_radius: Annotated[float, Field(gt=0)] = 0.01
    """Most of the blur, as a share of the shorter side."""

    erase: Share = 0.25
    """Share of pictures in which a rectangle is hidden (random erasing: Zhong et al., 2020)."""

    erase_area: tuple[Share, Share] = (0.02, 0.2)
    """Least and most of the picture that is hidden."""

    @model_validator(mode="after")
    def _rises(self) -> AugmentConfig:
        if self.erase_area[0] > self.erase_area[1]:
            raise ValueError(f"erase_area must be (least, most), got {self.erase_area}")
        return self


def rng_of(seed: int, item_id: str, epoch: int) -> np.random.Generator:
    """The chance of one item in one epoch: the same in every run, whoever asks first and in whatever order."""
    return np.random.default_rng([seed, zlib.crc32(item_id.encode()), epoch])


def augment(picture: Image.Image, settings: AugmentConfig, rng: np.random.Generator) -> Image.Image:
    """A variant of a picture of the same size.

    Args:
        picture: RGB.
        settings: what may happen, and how much of it.
        rng: decides; see `rng_of`.

    Returns:
        a new RGB picture; the given one is not changed.
    """
    changed = _cropped(picture, settings, rng)
    if rng.random() < settings.flip:
        changed = changed.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    changed = _colored(changed, settings, rng)
    if rng.random() < settings.blur:
        radius = rng.uniform(0, settings.blur_radius) * min(picture.size)
        changed = changed.filter(ImageFilter.GaussianBlur(radius))
    if rng.random() < settings.erase:
        changed = _erased(changed, settings, rng)
    return changed if changed is not picture else picture.copy()


def _cropped(picture: Image.Image, settings: AugmentConfig, rng: np.random.Generator) -> Image.Image:
    """A random part, scaled back to the whole size (Inception crop: Szegedy et al., 2015)."""
    if settings.crop_area == 1 and settings.crop_ratio == 1:
        return picture
    area = rng.uniform(settings.crop_area, 1)
    stretch = float(np.exp(rng.uniform(-1, 1) * np.log(settings.crop_ratio) / 2))
    # a part that would be larger than the whole on one side is cut there
    width = picture.width * min(1.0, float(np.sqrt(area)) * stretch)
    height = picture.height * min(1.0, float(np.sqrt(area)) / stretch)
    left, top = rng.uniform(0, picture.width - width), rng.uniform(0, picture.height - height)
    box = (left, top, left + width, top + height)
    return picture.resize(picture.size, Image.Resampling.BILINEAR, box=box)


def _colored(picture: Image.Image, settings: AugmentConfig, rng: np.random.Generator) -> Image.Image:
    for most, kind in (
        (settings.brightness, ImageEnhance.Brightness),
        (settings.contrast, ImageEnhance.Contrast),
        (settings.saturation, ImageEnhance.Color),
    ):
        factor = rng.uniform(1 - most, 1 + most)  # drawn in any case: one setting does not change what others do
        if most:
            picture = kind(picture).enhance(factor)
    turn = round(256 * rng.uniform(-settings.hue, settings.hue))
    if turn:
        hue, saturation, value = picture.convert("HSV").split()
        picture = Image.merge("HSV", (hue.point(lambda level: (level + turn) % 256), saturation, value)).convert("RGB")
    return picture


def _erased(picture: Image.Image, settings: AugmentConfig, rng: np.random.Generator) -> Image.Image:
    """With noise in a random rectangle."""
    pixels = np.array(picture)
    side = float(np.sqrt(rng.uniform(*settings.erase_area)))
    stretch = float(np.exp(rng.uniform(-0.5, 0.5)))
    height = min(picture.height, round(picture.height * min(1.0, side * stretch)))
    width = min(picture.width, round(picture.width * min(1.0, side / stretch)))
    top = int(rng.integers(0, picture.height - height + 1))
    left = int(rng.integers(0, picture.width - width + 1))
    noise = rng.integers(0, 256, (height, width, 3))
    pixels[top : top + height, left : left + width] = noise
    return Image.fromarray(pixels)
