"""Outlines that products are drawn from: polygons in a square from (-1, -1), upper left, to (1, 1), lower right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Outline: TypeAlias = NDArray[np.float64]
"""A closed polygon, float64 [n_corners, 2] of (x, y)."""

Paint = Literal["body", "tint", "shade", "light", "dark", "metal", "wood", "leaf", "glow"]
"""What a part is painted with: the product's color with its pattern, plain variants of it, or a fixed material."""


@dataclass(frozen=True, eq=False)
class Part:
    """One piece of a product, painted in one go.

    Args:
        outlines: polygons; their union is the part.
        paint: what it is painted with.
        holes: polygons cut out of it.
        curve: how round it is from left to right, in [0, 1]; 0 is flat cloth or card, 1 a cylinder.
        gloss: how much light it mirrors, in [0, 1].
        drop: whether it throws a shadow on what lies under it.
    """

    outlines: tuple[Outline, ...]
    paint: Paint
    holes: tuple[Outline, ...] = ()
    curve: float = 0.3
    gloss: float = 0.0
    drop: bool = True


@dataclass(frozen=True, eq=False)
class Figure:
    """A product ready to be painted.

    Args:
        parts: from back to front.
        mark: where the brand mark goes and its radius: (x, y, radius).
        floor: y of the surface it stands on, or None where it lies flat.
    """

    parts: tuple[Part, ...]
    mark: tuple[float, float, float]
    floor: float | None


def part(paint: Paint, *outlines: Outline, curve: float = 0.3, gloss: float = 0.0, drop: bool = True) -> Part:
    """A part without holes."""
    return Part(outlines, paint, curve=curve, gloss=gloss, drop=drop)


def oval(x: float, y: float, rx: float, ry: float, *, start: float = 0.0, end: float = 360.0) -> Outline:
    """An ellipse around (x, y), or its arc from `start` to `end` degrees, clockwise from the right, with its chord."""
    angle = np.radians(np.linspace(start, end, 64))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def box(left: float, top: float, right: float, bottom: float, corner: float = 0.0) -> Outline:
    """A rectangle with rounded corners of radius `corner`."""
    corner = min(corner, (right - left) / 2, (bottom - top) / 2)
    centers = (
        (right - corner, bottom - corner, 0.0),
        (left + corner, bottom - corner, 90.0),
        (left + corner, top + corner, 180.0),
        (right - corner, top + corner, 270.0),
    )
    return np.concatenate([oval(x, y, corner, corner, start=a, end=a + 90.0)[::6] for x, y, a in centers])


def smooth(points: list[tuple[float, float]], *, closed: bool = True, steps: int = 10) -> Outline:
    """A Catmull-Rom curve through the points; the first and the last are joined smoothly where `closed`."""
    knots = np.array(points, dtype=np.float64)
    ends = (knots[-1:], knots[:2]) if closed else (knots[:1], knots[-1:])
    p = np.concatenate([ends[0], knots, ends[1]])
    p0, p1, p2, p3 = (p[k : len(p) - 3 + k, None] for k in range(4))
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    flat = curve.reshape(-1, 2)
    return flat if closed else np.concatenate([flat, knots[-1:]])


def corners(points: list[tuple[float, float]]) -> Outline:
    """A polygon with sharp corners."""
    return np.array(points, dtype=np.float64)


def turned(profile: list[tuple[float, float]]) -> Outline:
    """A vessel as from a potter's wheel: its right-hand profile (half width, y) from top to bottom, and the mirror."""
    right = smooth(profile, closed=False)
    return np.concatenate([right, right[::-1] * (-1.0, 1.0)])


def band(points: list[tuple[float, float]], width: float, *, curved: bool = True) -> Outline:
    """A strap along the points with straight ends, `width` wide."""
    line = smooth(points, closed=False) if curved else corners(points)
    along = np.gradient(line, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    return np.concatenate([line + normal * width / 2, (line - normal * width / 2)[::-1]])


def moved(outline: Outline, dx: float = 0.0, dy: float = 0.0, *, scale: float = 1.0, turn: float = 0.0) -> Outline:
    """An outline scaled, turned by `turn` degrees clockwise, and then moved."""
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    out: Outline = scale * (outline @ np.array([[c, s], [-s, c]])) + (dx, dy)
    return out
