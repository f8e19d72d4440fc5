"""Whether two pictures are one: is one of them a part of the other, but for light and compression?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter

SIDE = 24
"""Pixels a side to which both are scaled before they are compared."""
LEAST_PART = 0.6
"""Share of each side that a part has at least."""
FIRST_STEP, LAST_STEP = 0.1, 0.004
"""Of the search for the part, as shares of the sides."""
FAR, FAR_STEP = 16.0, 0.04
"""Pictures that differ by more when the steps are that small are not aligned any further."""
CONTRAST = 50.0
"""Root mean square contrast of a usual picture; of a paler one, or one that is mostly background, less is the same."""
LARGE_SIDE = 160
"""Larger pictures are scaled down to this first, which costs less than scaling parts of a large one."""

Pixels = NDArray[np.float32]
Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def small(picture: Image.Image) -> Image.Image:
    """A picture small enough to be compared quickly."""
    shrunk = picture.copy()
    shrunk.thumbnail((LARGE_SIDE, LARGE_SIDE), Image.Resampling.BOX, reducing_gap=2)
    return shrunk


def difference(a: Image.Image, b: Image.Image) -> float:
    """How far two pictures differ where one is laid over the part of the other that fits it best.

    Args:
        a: RGB, as `small` gives it.
        b: likewise.

    Returns:
        A difference in gray levels of 256, 0 for identical pictures: the largest of the root mean square over all
        pixels and channels, the same for a picture of usual contrast, and half of the largest one in a field of 3 x 3
        pixels (a logo, or a shade of lipstick). Each channel's mean was made equal before. The part is searched for
        side by side, in ever smaller steps, by the first of these.
    """
    return min(_to_part(a, b), _to_part(b, a))


def _to_part(whole: Image.Image, part: Image.Image) -> float:
    target = _pixels(part, WHOLE)
    box, best, step = WHOLE, _apart(_pixels(whole, WHOLE), target), FIRST_STEP
    while step > LAST_STEP:
        better = False
        for side in range(4):
            for by in (step, -step):
                tried = _moved(box, side, by)
                if tried[2] - tried[0] < LEAST_PART or tried[3] - tried[1] < LEAST_PART or tried == box:
                    continue
                apart = _apart(_pixels(whole, tried), target)
                if apart < best - 1e-6:
                    best, box, better = apart, tried, True
        if not better:
            if best > FAR and step < FAR_STEP:
                break
            step /= 2
    fields = uniform_filter(_pixels(whole, box) - target, (3, 3, 1))
    local = float(np.sqrt((fields**2).mean(axis=-1)).max())
    return max(best, best * CONTRAST / max(float(target.std()), 1.0), local / 2)


def _moved(box: Box, which: int, by: float) -> Box:
    moved = [min(1.0, max(0.0, edge + by)) if side == which else edge for side, edge in enumerate(box)]
    return moved[0], moved[1], moved[2], moved[3]


def _pixels(picture: Image.Image, box: Box) -> Pixels:
    width, height = picture.size
    part = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=part), dtype=np.float32)
    return np.asarray(pixels - pixels.mean(axis=(0, 1)), dtype=np.float32)


def _apart(a: Pixels, b: Pixels) -> float:
    return float(np.sqrt(((a - b) ** 2).mean()))
