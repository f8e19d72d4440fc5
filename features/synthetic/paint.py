"""Colors, patterns and brand marks of the drawn products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.synthetic.assortment import COLORS
from features.synthetic.outline import Outline, band, box, corners, moved, oval, smooth

Color = NDArray[np.float32]
"""Red, green and blue in [0, 1], float32 [3]."""


def rgb(red: float, green: float, blue: float) -> Color:
    """A color from its three shares of light."""
    return np.array([red, green, blue], dtype=np.float32)


_COLORS = {
    "red": rgb(0.80, 0.15, 0.17),
    "orange": rgb(0.94, 0.48, 0.14),
    "yellow": rgb(0.96, 0.78, 0.22),
    "green": rgb(0.27, 0.58, 0.30),
    "teal": rgb(0.10, 0.56, 0.58),
    "blue": rgb(0.17, 0.37, 0.80),
    "purple": rgb(0.50, 0.27, 0.68),
    "pink": rgb(0.95, 0.54, 0.68),
    "brown": rgb(0.48, 0.31, 0.20),
    "black": rgb(0.15, 0.15, 0.17),
    "white": rgb(0.96, 0.95, 0.92),
    "gray": rgb(0.57, 0.59, 0.62),
}
CREAM, CHARCOAL = rgb(0.97, 0.95, 0.90), rgb(0.20, 0.20, 0.23)


@dataclass(frozen=True, eq=False)
class Dye:
    """The colors of one product, all float32 [3].

    Args:
        main: its own color, a little varied.
        accent: the color of its pattern.
        paints: what each other paint of `outline.Paint` looks like on it.
    """

    main: Color
    accent: Color
    paints: dict[str, Color]


def mix_dye(color: int, rng: np.random.Generator) -> Dye:
    """The colors of a product of a color's code."""
    main = _COLORS[COLORS[color]] * np.float32(rng.uniform(0.9, 1.07))
    main = np.clip(main + rng.uniform(-0.025, 0.025, 3).astype(np.float32), 0, 1)
    luminance = float(main @ rgb(0.3, 0.59, 0.11))
    if luminance < 0.5:
        accent = CREAM if rng.random() < 0.6 else _between(main, CREAM, 0.62)
    else:
        accent = CHARCOAL if rng.random() < 0.3 else _between(main, CHARCOAL, 0.55)
        if luminance < 0.72 and rng.random() < 0.6:
            accent = CREAM
    wood = rgb(0.72, 0.52, 0.34) * np.float32(rng.uniform(0.75, 1.1))
    gold = rng.random() < 0.4
    return Dye(
        main=main,
        accent=accent,
        paints={
            "tint": _between(main, CREAM, 0.16) if luminance < 0.75 else _between(main, CHARCOAL, 0.07),
            "shade": _between(main, CHARCOAL, 0.35),
            "light": CREAM,
            "dark": CHARCOAL,
            "metal": rgb(0.83, 0.68, 0.38) if gold else rgb(0.73, 0.75, 0.78),
            "wood": wood,
            "leaf": rgb(0.42, 0.55, 0.38) * np.float32(rng.uniform(0.8, 1.1)),
            "glow": rgb(1.0, 0.93, 0.74),
        },
    )


def _between(first: Color, second: Color, share: float) -> Color:
    mixed: Color = first + (second - first) * np.float32(share)
    return mixed


@dataclass(frozen=True)
class Weave:
    """How a pattern lies on a product.

    Args:
        name: one of `assortment.PATTERNS`.
        period: distance from one repeat to the next, in product units.
        turn: direction, degrees.
        shift: where the pattern starts, in product units.
    """

    name: str
    period: float
    turn: float
    shift: float

    @classmethod
    def vary(cls, name: str, rng: np.random.Generator) -> Weave:
        """A pattern with its own scale and direction."""
        turn = {"stripes": float(rng.choice([0.0, 90.0, 45.0, -45.0])), "checks": float(rng.choice([0.0, 45.0]))}
        period = {"stripes": 0.26, "dots": 0.25, "checks": 0.32, "zigzag": 0.27}.get(name, 1.0)
        return cls(name, period * rng.uniform(0.8, 1.25), turn.get(name, 0.0), rng.uniform(0, period))

    def cover(self, x: NDArray[np.float32], y: NDArray[np.float32], pixel: float) -> NDArray[np.float32] | None:
        """Share of the accent color at points of the product; float32 like `x`, None where there is no pattern.

        Args:
            x: float32, product units.
            y: float32 like `x`.
            pixel: size of a pixel in product units; edges are softened over it.
        """
        if self.name == "plain":
            return None
        c, s = np.float32(np.cos(np.radians(self.turn))), np.float32(np.sin(np.radians(self.turn)))
        u, v = x * c + y * s + np.float32(self.shift), y * c - x * s + np.float32(self.shift)
        half = self.period / 2
        if self.name == "stripes":
            return _inside(half * 0.5 - _fold(v, self.period), pixel)
        if self.name == "checks":
            across, down = (_inside(half * 0.5 - _fold(w, self.period), pixel) for w in (u, v))
            return (across + down) * np.float32(0.5)
        if self.name == "dots":
            row = np.floor(v / np.float32(self.period))
            u = u + np.float32(half) * (row % 2)
            near = np.hypot(_fold(u, self.period), np.abs((v / np.float32(self.period) - row - 0.5) * self.period))
            return _inside(half * 0.58 - near, pixel)
        wave = _fold(u, self.period * 1.2) * np.float32(1.1)
        return _inside((half * 0.5 - _fold(v + wave, self.period)) * np.float32(0.7), pixel)


def _fold(w: NDArray[np.float32], period: float) -> NDArray[np.float32]:
    """Distance to the nearest multiple of `period`."""
    turns = w / np.float32(period)
    out: NDArray[np.float32] = np.abs(turns - np.rint(turns)) * np.float32(period)
    return out


def _inside(distance: NDArray[np.float32], pixel: float) -> NDArray[np.float32]:
    """1 well inside, 0 well outside, and a straight ramp over the pixel on the edge."""
    out: NDArray[np.float32] = np.clip(distance / np.float32(pixel) + np.float32(0.5), 0, 1)
    return out


def glyph(name: str) -> tuple[tuple[Outline, ...], tuple[Outline, ...]]:
    """Outlines and holes of a brand mark in the square from -1 to 1."""
    spike = np.radians(np.arange(10) * 36 - 90)
    reach = np.where(np.arange(10) % 2 == 0, 0.9, 0.38)
    shapes: dict[str, tuple[tuple[Outline, ...], tuple[Outline, ...]]] = {
        "disk": ((oval(0, 0, 0.62, 0.62),), ()),
        "triangle": ((corners([(0, -0.8), (0.78, 0.55), (-0.78, 0.55)]),), ()),
        "square": ((box(-0.6, -0.6, 0.6, 0.6, 0.05),), ()),
        "diamond": ((corners([(0, -0.9), (0.6, 0), (0, 0.9), (-0.6, 0)]),), ()),
        "star": ((np.stack([reach * np.cos(spike), reach * np.sin(spike)], axis=1),), ()),
        "ring": ((oval(0, 0, 0.75, 0.75),), (oval(0, 0, 0.42, 0.42),)),
        "cross": ((box(-0.24, -0.8, 0.24, 0.8), box(-0.8, -0.24, 0.8, 0.24)), ()),
        "heart": (
            (
                oval(-0.34, -0.26, 0.4, 0.38),
                oval(0.34, -0.26, 0.4, 0.38),
                corners([(-0.7, -0.1), (0.7, -0.1), (0, 0.76)]),
            ),
            (),
        ),
        "moon": ((oval(0, 0, 0.75, 0.75),), (oval(0.34, -0.12, 0.62, 0.62),)),
        "leaf": (
            (
                moved(smooth([(0, -0.95), (0.48, -0.3), (0.4, 0.3), (0, 0.62), (-0.4, 0.3), (-0.48, -0.3)]), turn=42),
                moved(box(-0.07, 0.5, 0.07, 0.98), turn=42),
            ),
            (moved(box(-0.06, -0.45, 0.06, 0.62), turn=42),),
        ),
        "bolt": ((corners([(0.2, -0.9), (-0.55, 0.15), (-0.05, 0.15), (-0.2, 0.9), (0.55, -0.2), (0.05, -0.2)]),), ()),
        "bars": (tuple(moved(band([(-0.65, 0), (0.65, 0)], 0.28, curved=False), 0, dy) for dy in (-0.5, 0, 0.5)), ()),
    }
    return shapes[name]
