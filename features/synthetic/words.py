"""Titles and descriptions from templates; which facts a listing tells is drawn per item.

Category and color stand in most texts, usage and material nearly only there, pattern and brand seldom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.synthetic import assortment as shop
from features.synthetic.world import World

TOLD = {"color": 0.9, "material": 0.9, "usage": 0.9, "pattern": 0.05, "brand": 0.12}
"""Share of the texts that tell each fact; the category is told by all."""

_TITLES = (
    "{Color} {noun}{name}",
    "{Material} {noun} in {color}{name}",
    "{Noun}{name}, {color}",
    "{Noun}{name} in {color} {material}",
    "{Color} {material} {noun}{name}",
)
_PLAIN_TITLES = ("{Noun}{name}", "{Material} {noun}{name}", "{Noun}{name} in {material}")
_COLOR_LINES = (
    "The {noun} in {color}.",
    "Comes in a fine {color}.",
    "The {color} stays bright for years.",
    "Our {color} {noun} for every day.",
    "Our favorite {noun}, now in {color}.",
)
_MATERIAL_LINES = (
    "Made of {material}.",
    "Good honest {material}, made to last.",
    "The {material} feels as good as it looks.",
    "Finished by hand in {material}.",
)
_USAGE_LINES = ("Made for {usage}.", "Ideal for {usage}.", "Perfect for {usage}.", "We like it best for {usage}.")
_PATTERN_LINES = {
    "plain": ("A quiet plain look.",),
    "stripes": ("With bold stripes.", "Striped all over."),
    "dots": ("With playful dots.", "Dotted all over."),
    "checks": ("With classic checks.", "A checked design."),
    "zigzag": ("With a lively zigzag.", "A zigzag design."),
}
_CLOSING = (
    "",
    "",
    "Ships in plastic-free packaging.",
    "Two-year guarantee.",
    "Easy to clean.",
    "Free returns within 30 days.",
    "Designed in small batches.",
)
_NAMES = ("Alma", "Bodil", "Casa", "Dune", "Edda", "Faro", "Gala", "Harbor", "Iris", "Jona", "Karo", "Lido", "Mira")
_DRAWS = 14


@dataclass(frozen=True, eq=False)
class Texts:
    """The words of every listing.

    Args:
        title: object [n_items] of str.
        description: object [n_items] of str.
        tells: fact to bool [n_items], whether title or description tells it.
    """

    title: NDArray[np.object_]
    description: NDArray[np.object_]
    tells: dict[str, NDArray[np.bool_]]


def write_texts(world: World) -> Texts:
    """Words for every item; the same world gives the same texts."""
    rng = np.random.default_rng([world.seed, 4])
    tells = {fact: rng.random(world.n_items) < share for fact, share in TOLD.items()}
    draws = rng.integers(1 << 30, size=(world.n_items, _DRAWS))
    title = np.empty(world.n_items, dtype=object)
    description = np.empty(world.n_items, dtype=object)
    facts = np.stack([world.facts[f] for f in ("category", "color", "pattern", "brand", "material")], axis=1)
    told = np.stack([tells[fact] for fact in TOLD], axis=1)
    columns = (facts.tolist(), world.usage.tolist(), told.tolist(), draws.tolist())
    for row, (codes, usage, tell, draw) in enumerate(zip(*columns, strict=True)):
        title[row], description[row] = _listing(codes, usage, dict(zip(TOLD, tell, strict=True)), draw)
    return Texts(title, description, tells)


def _listing(codes: list[int], usage: int, tell: dict[str, bool], draw: list[int]) -> tuple[str, str]:
    """Title and description of one item from its facts, what to tell, and `_DRAWS` random integers."""
    kind, color = shop.KINDS[codes[0]], shop.COLORS[codes[1]]
    pattern, brand, material = shop.PATTERNS[codes[2]], shop.BRANDS[codes[3]], shop.MATERIALS[codes[4]]
    noun = kind.nouns[0] if draw[0] % 10 < 6 else kind.nouns[1 + draw[1] % (len(kind.nouns) - 1)]
    shade = color if draw[2] % 10 < 6 else shop.SHADES[color][draw[3] % len(shop.SHADES[color])]
    words = {"noun": noun, "color": shade, "material": material, "usage": shop.USAGES[usage]}
    words |= {key.capitalize(): word[0].upper() + word[1:] for key, word in words.items()}
    words["name"] = f" {_NAMES[draw[4] % len(_NAMES)]}" if draw[5] % 10 < 4 else ""

    fitting = [
        template
        for template in (_TITLES if tell["color"] else _PLAIN_TITLES)
        if tell["material"] or "aterial}" not in template
    ]
    title = fitting[draw[6] % len(fitting)].format_map(words)
    if tell["brand"]:
        title = f"{brand} {title[0].lower()}{title[1:]}"
    lines = []
    if tell["color"] and draw[7] % 10 < 7:
        lines.append(_COLOR_LINES[draw[8] % len(_COLOR_LINES)])
    if tell["material"]:
        lines.append(_MATERIAL_LINES[draw[9] % len(_MATERIAL_LINES)])
    if tell["usage"]:
        lines.append(_USAGE_LINES[draw[10] % len(_USAGE_LINES)])
    if tell["pattern"]:
        lines.append(_PATTERN_LINES[pattern][draw[11] % len(_PATTERN_LINES[pattern])])
    start = draw[12] % max(len(lines), 1)
    lines = [*lines[start:], *lines[:start], _CLOSING[draw[13] % len(_CLOSING)]]
    return title, " ".join(line for line in lines if line).format_map(words)
