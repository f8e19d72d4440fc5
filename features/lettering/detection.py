"""Where there is lettering in a picture: from a network's map of probabilities to slanted rectangles.

The network is trained by differentiable binarization (Liao et al., 2020): it marks the *core* of each line of text,
shrunk on all sides by area x (1 - 0.4^2) / perimeter, so that lines that nearly touch stay apart. What is found is
therefore grown again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

THRESHOLD = 0.3
"""A pixel belongs to the core of a line from this probability on."""
LEAST_PROBABILITY = 0.5
"""Mean over a core; what is below is no lettering."""
GROWTH = 1.6
"""By how much of area / perimeter a core is grown."""
LEAST_SIDE = 3.0
"""Pixels; thinner cores are noise."""
MOST_LINES = 60
"""Of a picture, the largest ones."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Place:
    """A rectangle around one line of lettering.

    Args:
        center: (x, y) in pixels of the map.
        along: unit vector (x, y) in the direction of reading.
        width: along it, pixels.
        height: across it, pixels.
    """

    center: Floats
    along: Floats
    width: float
    height: float

    def turned(self) -> Place:
        """The same rectangle, read the other way round."""
        return Place(self.center, -self.along, self.width, self.height)

    def corners(self) -> Floats:
        """Top left, bottom left, bottom right, top right as the text is read, float64 [4, 2]."""
        across = np.array([-self.along[1], self.along[0]])
        half_x, half_y = self.along * self.width / 2, across * self.height / 2
        return np.stack(
            [
                self.center - half_x - half_y,
                self.center - half_x + half_y,
                self.center + half_x + half_y,
                self.center + half_x - half_y,
            ]
        )


def places(probability: NDArray[np.float32]) -> list[Place]:
    """Lines of lettering, from the top to the bottom.

    Args:
        probability: float32 [height, width] in [0, 1], that a pixel belongs to the core of a line.
    """
    labels, n = ndimage.label(probability > THRESHOLD, structure=np.ones((3, 3), dtype=int))
    if not n:
        return []
    mean = ndimage.mean(probability, labels, np.arange(1, n + 1))
    found: list[Place] = []
    for number, window in enumerate(ndimage.find_objects(labels)):
        if mean[number] < LEAST_PROBABILITY:
            continue
        y, x = np.nonzero(labels[window] == number + 1)
        core = _smallest_rectangle(np.stack([x + window[1].start + 0.5, y + window[0].start + 0.5], axis=1))
        if core is not None and core.height >= LEAST_SIDE:
            grown = 2 * GROWTH * core.width * core.height / (2 * (core.width + core.height))
            found.append(Place(core.center, core.along, core.width + grown, core.height + grown))
    largest = sorted(found, key=lambda place: -place.width * place.height)[:MOST_LINES]
    return sorted(largest, key=lambda place: (float(place.center[1]), float(place.center[0])))


def _smallest_rectangle(points: Floats) -> Place | None:
    """The rectangle of least area around points: a side of it lies on their convex hull (Freeman and Shapira, 1975)."""
    try:
        hull = points[ConvexHull(points).vertices]
    except QhullError:  # all on one line: a hair
        return None
    edges = np.roll(hull, -1, axis=0) - hull
    along = edges / np.linalg.norm(edges, axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    x, y = hull @ along.T, hull @ across.T  # [points, edges]
    # points are centers of pixels, and a pixel has a width of 1
    width, height = np.ptp(x, axis=0) + 1, np.ptp(y, axis=0) + 1
    best = int(np.argmin(width * height))
    middle_x, middle_y = (x[:, best].max() + x[:, best].min()) / 2, (y[:, best].max() + y[:, best].min()) / 2
    center = middle_x * along[best] + middle_y * across[best]
    return _as_read(center, along[best], float(width[best]), float(height[best]))


def _as_read(center: Floats, along: Floats, width: float, height: float) -> Place:
    """Turned so that the text runs along the longer side, from left to right or from top to bottom; but across it where
    that is hardly the shorter one and the longer one leans more than 60 degrees.
    """
    if height > width:
        along, width, height = np.array([-along[1], along[0]]), height, width
    if width < 1.5 * height and abs(along[0]) < 0.5:
        along, width, height = np.array([-along[1], along[0]]), height, width
    return Place(center, along if (along[0], along[1]) > (0.0, 0.0) or along[0] > 1e-9 else -along, width, height)
