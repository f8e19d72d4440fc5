"""`recsys match explain`: where the model looks, and which parts of a picture speak for its words."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from features.errors import InputError
from features.match.fine.explanation import explain
from features.pictures.sources import UnreadableImage, decode
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from recsys.match_fit import listings_of, read_match_model

SIDE = 240
"""Height of each panel in pixels."""
PANELS = 12
"""Most words drawn."""
_FOR, _AGAINST = np.array([208, 72, 24]), np.array([36, 98, 170])


@dataclass(frozen=True, eq=False)
class Told:
    """What was drawn.

    Args:
        item_id: of the listing.
        text: its words.
        score: probability that words and picture belong together.
        grid: patches from top to bottom and from left to right.
        attribution: [patches], row after row: how much each speaks for the words (> 0) or against them.
        tokens: of the words, empty without co-attention.
        attention: [tokens][patches]; where each word looks, each row adding up to 1.
    """

    item_id: str
    text: str
    score: float
    grid: tuple[int, int]
    attribution: list[float]
    tokens: list[str]
    attention: list[list[float]]


def explain_item(shop_dir: Path, item_id: str, model_dir: Path, out: Path, *, cache_dir: Path) -> Told:
    """Explain one item's score; leaves a PNG, and the data beside it as JSON.

    Raises:
        InputError: there is no such item, it lacks words or a readable picture, or `out` does not end in .png.
    """
    if out.suffix.lower() != ".png":
        raise InputError(f"--out must end in .png, got {out.name!r}")
    model, config = read_match_model(model_dir)
    shop = read_shop(shop_dir, quarantine=Quarantine())
    row = int(shop.catalog.items.idxs([item_id])[0])
    if row < 0:
        raise InputError(f"item {item_id!r} must be in {shop_dir}, it is not")
    listings = listings_of(shop, config, cache_dir=cache_dir, quarantine=Quarantine())
    if not listings.paired[row] or shop.images is None:
        raise InputError(f"item {item_id!r} must have words and a readable picture to be explained, one is missing")
    try:
        picture = decode(shop.images.read(str(shop.catalog.image[row])))
    except (KeyError, UnreadableImage) as error:
        raise InputError(f"item {item_id!r}: its picture cannot be read: {error}") from error
    found = explain(model, listings, row, picture)
    tokens = listings.tokens.words[row] if listings.tokens is not None else []
    told = Told(
        item_id,
        listings.texts[row],
        found.score,
        found.grid,
        [round(float(x), 6) for x in found.attribution.ravel()],
        tokens,
        [[round(float(x), 6) for x in line] for line in found.attention],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    draw(picture, told).save(out)
    about: dict[str, Any] = asdict(told)
    out.with_suffix(".json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")
    return told


def draw(picture: Image.Image, told: Told) -> Image.Image:
    """The picture, the parts that speak for (orange) and against (blue) its words, and a panel a word."""
    small = picture.resize((max(1, round(SIDE * picture.width / picture.height)), SIDE), Image.Resampling.BICUBIC)
    attribution = np.array(told.attribution).reshape(told.grid)
    strongest = float(np.abs(attribution).max()) or 1.0
    panels = [("picture", small), ("for / against", tinted(small, attribution / strongest))]
    words = [place for place, token in enumerate(told.tokens) if token not in ("[CLS]", "[SEP]")][:PANELS]
    for place in words:
        heat = np.array(told.attention[place]).reshape(told.grid)
        heat = (heat - heat.min()) / (float(np.ptp(heat)) or 1.0)  # where it looks more than elsewhere
        panels.append((told.tokens[place], tinted(small, heat)))
    columns = min(len(panels), 6)
    width, height = small.width + 8, SIDE + 24
    sheet = Image.new("RGB", (columns * width, -(-len(panels) // columns) * height), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (name, panel) in enumerate(panels):
        x, y = number % columns * width + 4, number // columns * height
        pen.text((x, y + 4), name.encode("latin-1", "replace").decode("latin-1"), fill="black")
        sheet.paste(panel, (x, y + 20))
    return sheet


def tinted(picture: Image.Image, heat: NDArray[np.float64]) -> Image.Image:
    """The picture in gray, orange where the heat is 1, blue where it is -1, smoothly between patches.

    Args:
        picture: any size.
        heat: [rows, columns] in [-1, 1].
    """
    smooth = Image.fromarray(heat.astype(np.float32)).resize(picture.size, Image.Resampling.BICUBIC)
    strength = np.clip(np.asarray(smooth), -1, 1)[..., None]
    gray = np.asarray(picture.convert("L"), dtype=np.float64)[..., None].repeat(3, axis=2)
    color = np.where(strength > 0, _FOR, _AGAINST)
    mixed = gray * (1 - 0.7 * np.abs(strength)) + color * 0.7 * np.abs(strength)
    return Image.fromarray(mixed.astype(np.uint8))
