"""Product pictures: a figure in its color and pattern, with its brand's mark, lit softly before a quiet background."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from features.synthetic import homeware, wear
from features.synthetic.assortment import GLYPHS, KINDS, PATTERNS
from features.synthetic.outline import Figure, Outline, Part, oval
from features.synthetic.paint import CHARCOAL, CREAM, Dye, Weave, glyph, mix_dye, rgb

SIZE = 256
"""Pixels on each side."""

FINER = 3
"""Masks are drawn so many times larger and then averaged down."""

MARGIN = 10
_FIGURES: dict[str, Callable[[np.random.Generator], Figure]] = {
    "mug": homeware.mug,
    "teapot": homeware.teapot,
    "bottle": homeware.bottle,
    "lamp": homeware.lamp,
    "armchair": homeware.armchair,
    "cushion": homeware.cushion,
    "clock": homeware.clock,
    "vase": homeware.vase,
    "t-shirt": wear.t_shirt,
    "sneaker": wear.sneaker,
    "handbag": wear.handbag,
    "backpack": wear.backpack,
    "suitcase": wear.suitcase,
    "umbrella": wear.umbrella,
}
_BACKDROPS = (
    rgb(0.965, 0.950, 0.930),
    rgb(0.930, 0.945, 0.960),
    rgb(0.955, 0.935, 0.905),
    rgb(0.925, 0.945, 0.925),
    rgb(0.960, 0.935, 0.940),
    rgb(0.935, 0.930, 0.955),
    rgb(0.975, 0.965, 0.945),
)
_Y, _X = np.meshgrid(*(np.linspace(-1, 1, SIZE, dtype=np.float32),) * 2, indexing="ij")


@dataclass(frozen=True)
class Look:
    """What a picture shows, as codes of the planted truth, and the seed of everything that merely varies."""

    kind: int
    color: int
    pattern: int
    brand: int
    seed: tuple[int, ...]


@dataclass(frozen=True)
class _Pose:
    """Where the product stands: product units to pixels and back."""

    scale: float
    turn: float
    flip: float
    x: float
    y: float

    def to_pixels(self, outline: Outline) -> Outline:
        c, s = np.cos(self.turn), np.sin(self.turn)
        turned = outline * (self.flip, 1.0) @ np.array([[c, s], [-s, c]])
        out: Outline = (turned * self.scale + (self.x, self.y) + 1.0) * (SIZE / 2)
        return out

    def to_product(self, left: int, top: int, right: int, bottom: int) -> tuple[NDArray[np.float32], ...]:
        x = (_X[top:bottom, left:right] - np.float32(self.x)) / np.float32(self.scale)
        y = (_Y[top:bottom, left:right] - np.float32(self.y)) / np.float32(self.scale)
        c, s = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        return (x * c + y * s) * np.float32(self.flip), y * c - x * s

    @property
    def pixel(self) -> float:
        return 2.0 / SIZE / self.scale


def draw(look: Look) -> bytes:
    """Draw one product; the same look gives the same bytes.

    Returns:
        a JPEG of `SIZE` x `SIZE` pixels.
    """
    rng = np.random.default_rng(look.seed)
    figure = _FIGURES[KINDS[look.kind].name](rng)
    dye = mix_dye(look.color, rng)
    weave = Weave.vary(PATTERNS[look.pattern], rng)
    flat = figure.floor is None
    pose = _Pose(
        scale=rng.uniform(0.74, 0.86),
        turn=np.radians(rng.uniform(-12, 12) if flat else rng.uniform(-3, 3)),
        flip=float(rng.choice([-1.0, 1.0])),
        x=rng.uniform(-0.05, 0.05),
        y=rng.uniform(-0.04, 0.04),
    )
    canvas = _backdrop(figure, pose, rng)
    for piece in figure.parts:
        _paint_part(canvas, piece, pose, dye, weave)
    _paint_mark(canvas, figure, pose, GLYPHS[look.brand])
    canvas *= np.float32(rng.uniform(0.95, 1.03))
    canvas += rng.normal(0, 0.004, (SIZE, SIZE, 1)).astype(np.float32)
    pixels = (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=92, subsampling=0)
    return out.getvalue()


def _backdrop(figure: Figure, pose: _Pose, rng: np.random.Generator) -> NDArray[np.float32]:
    """A softly lit background and the product's shadow on it; float32 [SIZE, SIZE, 3]."""
    tone = _BACKDROPS[rng.integers(len(_BACKDROPS))]
    light = (1.02 - 0.03 * ((_X + 0.35) ** 2 + (_Y + 0.45) ** 2)).astype(np.float32)
    if figure.floor is not None:
        horizon = pose.y + pose.scale * (figure.floor - 0.16)
        light -= np.float32(0.045) / (1 + np.exp(-(_Y - np.float32(horizon)) * 30))
        ground = pose.y + pose.scale * (figure.floor + 0.01)
        wide = pose.scale * 0.72
        away = ((_X - np.float32(pose.x + 0.05)) / wide) ** 2 + ((_Y - np.float32(ground)) / 0.085) ** 2
        light *= 1 - np.float32(0.34) * np.exp(-away)
    canvas: NDArray[np.float32] = light[:, :, None] * tone
    return canvas


def _mask(
    outlines: list[Outline], holes: list[Outline]
) -> tuple[NDArray[np.float32], tuple[int, int, int, int]] | None:
    """Coverage of a part in [0, 1], cut to the part and a margin, with (left, top, right, bottom) in pixels."""
    every = np.concatenate(outlines)
    left, top = (np.maximum(np.floor(every.min(axis=0)).astype(int) - MARGIN, 0)).tolist()
    right, bottom = (np.minimum(np.ceil(every.max(axis=0)).astype(int) + MARGIN, SIZE)).tolist()
    if right <= left or bottom <= top:
        return None
    image = Image.new("L", ((right - left) * FINER, (bottom - top) * FINER))
    pen = ImageDraw.Draw(image)
    for polygons, fill in ((outlines, 255), (holes, 0)):
        for polygon in polygons:
            pen.polygon(((polygon - (left, top)) * FINER).ravel().tolist(), fill=fill)
    small = np.asarray(image.reduce(FINER), dtype=np.float32) / np.float32(255)
    return small, (left, top, right, bottom)


def _blur(mask: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    image = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def _paint_part(canvas: NDArray[np.float32], piece: Part, pose: _Pose, dye: Dye, weave: Weave) -> None:
    """Paint one part over the canvas, with its shading and the shadow it throws."""
    drawn = _mask([pose.to_pixels(o) for o in piece.outlines], [pose.to_pixels(o) for o in piece.holes])
    if drawn is None:
        return
    mask, (left, top, right, bottom) = drawn
    under = canvas[top:bottom, left:right]
    if piece.paint == "glow":
        under += (_blur(mask, 9) * np.float32(0.22))[:, :, None] * dye.paints["glow"]
        return
    x, y = pose.to_product(left, top, right, bottom)
    soft = _blur(mask, 4)
    if piece.drop:
        thrown = np.roll(soft, (3, 2), axis=(0, 1)) * np.float32(0.26)
        under *= (1 - thrown * (1 - mask))[:, :, None]

    color = np.broadcast_to(dye.main if piece.paint == "body" else dye.paints[piece.paint], under.shape)
    cover = weave.cover(x, y, pose.pixel) if piece.paint == "body" else None
    if cover is not None:
        color = color + cover[:, :, None] * (dye.accent - dye.main)

    points = np.concatenate(piece.outlines)
    (low_x, low_y), (high_x, high_y) = points.min(axis=0), points.max(axis=0)
    across = (
        (x - np.float32((low_x + high_x) / 2)) / np.float32(max((high_x - low_x) / 2, 1e-3)) * np.float32(pose.flip)
    )
    down = (y - np.float32((low_y + high_y) / 2)) / np.float32(max((high_y - low_y) / 2, 1e-3))
    lit = 1.05 - np.float32(0.30 * piece.curve) * (across + 0.28) ** 2 - np.float32(0.07) * down
    lit = lit * (0.80 + 0.20 * np.clip(soft * 2 - 1, 0, 1))
    color = color * lit[:, :, None]
    if piece.gloss:
        streak = np.exp(-(((across + 0.52) / 0.13) ** 2)) * np.clip(1.15 - np.abs(down), 0, 1)
        color = color + (np.float32(0.30 * piece.gloss) * streak)[:, :, None]
    under += mask[:, :, None] * (color - under)


def _paint_mark(canvas: NDArray[np.float32], figure: Figure, pose: _Pose, name: str) -> None:
    """The brand's glyph, dark on a cream badge so that it reads on every pattern; never mirrored."""
    x, y, radius = figure.mark
    center = pose.to_pixels(np.array([[x, y]]))[0]
    size = radius * pose.scale * SIZE / 2
    outlines, holes = glyph(name)
    for shapes, cut, color in (
        ((oval(0, 0, 1.1, 1.1),), (), CHARCOAL),
        ((oval(0, 0, 1.0, 1.0),), (), CREAM),
        (tuple(0.66 * o for o in outlines), tuple(0.66 * o for o in holes), CHARCOAL),
    ):
        drawn = _mask([o * size + center for o in shapes], [o * size + center for o in cut])
        if drawn is not None:
            mask, (left, top, right, bottom) = drawn
            under = canvas[top:bottom, left:right]
            under += mask[:, :, None] * (color - under)
