"""What the made-up shop can sell: its kinds of product, colors, patterns, brands, materials and customers.

The order of each tuple is the code of its values: color 3 is `COLORS[3]` everywhere in the planted truth.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One category of product.

    Args:
        name: what the drawing and the templates call it.
        department: first step of its category path.
        category: second step of its category path.
        nouns: what a listing may call it; the first is the most usual.
        materials: what it may be made of.
        usages: what a description may say it is for; never visible in a picture.
        price: middle price of the middle price level.
    """

    name: str
    department: str
    category: str
    nouns: tuple[str, ...]
    materials: tuple[str, ...]
    usages: tuple[str, ...]
    price: float


KINDS = (
    Kind(
        "mug",
        "Kitchen",
        "Mugs",
        ("mug", "coffee mug", "tea mug"),
        ("stoneware", "porcelain", "enamel", "glass"),
        ("slow mornings", "the office desk", "camp coffee", "hot chocolate"),
        14,
    ),
    Kind(
        "teapot",
        "Kitchen",
        "Teapots",
        ("teapot", "tea pot", "teapot with lid"),
        ("stoneware", "porcelain", "cast iron", "glass"),
        ("afternoon tea", "loose leaf", "a long brunch", "guests"),
        38,
    ),
    Kind(
        "bottle",
        "Kitchen",
        "Bottles",
        ("water bottle", "drinking bottle", "flask"),
        ("steel", "glass", "aluminum"),
        ("the gym", "hiking", "the commute", "school"),
        24,
    ),
    Kind(
        "lamp",
        "Living",
        "Lamps",
        ("table lamp", "bedside lamp", "desk lamp"),
        ("linen", "cotton", "steel", "ceramic"),
        ("reading corners", "bedside tables", "late work", "a hallway"),
        62,
    ),
    Kind(
        "armchair",
        "Living",
        "Armchairs",
        ("armchair", "lounge chair", "easy chair"),
        ("velvet", "linen", "wool", "leather"),
        ("reading", "small apartments", "a fireside", "the nursery"),
        240,
    ),
    Kind(
        "cushion",
        "Living",
        "Cushions",
        ("cushion", "throw pillow", "sofa pillow"),
        ("velvet", "linen", "cotton", "wool"),
        ("the sofa", "a window seat", "the garden bench", "floor seating"),
        26,
    ),
    Kind(
        "clock",
        "Living",
        "Clocks",
        ("alarm clock", "table clock", "bedside clock"),
        ("steel", "brass", "aluminum"),
        ("heavy sleepers", "the kitchen shelf", "travel", "the kids' room"),
        34,
    ),
    Kind(
        "vase",
        "Living",
        "Vases",
        ("vase", "flower vase", "bud vase"),
        ("ceramic", "glass", "porcelain", "stoneware"),
        ("fresh flowers", "dried grasses", "a mantelpiece", "a wedding gift"),
        32,
    ),
    Kind(
        "t-shirt",
        "Fashion",
        "T-Shirts",
        ("t-shirt", "tee", "crew neck t-shirt"),
        ("cotton", "linen", "bamboo", "hemp"),
        ("hot days", "running", "layering", "weekends"),
        22,
    ),
    Kind(
        "sneaker",
        "Fashion",
        "Sneakers",
        ("sneakers", "trainers", "running shoes"),
        ("canvas", "suede", "leather", "mesh"),
        ("city walks", "running", "dancing", "everyday wear"),
        84,
    ),
    Kind(
        "handbag",
        "Fashion",
        "Handbags",
        ("handbag", "shoulder bag", "tote handbag"),
        ("leather", "canvas", "suede", "raffia"),
        ("evenings out", "the market", "work", "the beach"),
        96,
    ),
    Kind(
        "backpack",
        "Travel",
        "Backpacks",
        ("backpack", "rucksack", "daypack"),
        ("canvas", "nylon", "leather", "waxed cotton"),
        ("hiking", "school", "the commute", "a weekend away"),
        72,
    ),
    Kind(
        "suitcase",
        "Travel",
        "Suitcases",
        ("suitcase", "cabin suitcase", "carry-on trolley"),
        ("polycarbonate", "aluminum", "nylon"),
        ("business trips", "two weeks away", "overhead bins", "family holidays"),
        130,
    ),
    Kind(
        "umbrella",
        "Travel",
        "Umbrellas",
        ("umbrella", "rain umbrella", "walking umbrella"),
        ("nylon", "bamboo", "polyester"),
        ("stormy days", "the commute", "two people", "sudden showers"),
        28,
    ),
)

COLORS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "black", "white", "gray")

SHADES = {
    "red": ("scarlet red", "cherry red", "crimson"),
    "orange": ("burnt orange", "tangerine orange", "apricot orange"),
    "yellow": ("sunny yellow", "lemon yellow", "mustard yellow"),
    "green": ("forest green", "moss green", "leaf green"),
    "teal": ("deep teal", "sea teal", "petrol teal"),
    "blue": ("cobalt blue", "royal blue", "ocean blue"),
    "purple": ("plum purple", "violet", "royal purple"),
    "pink": ("rose pink", "blush pink", "candy pink"),
    "brown": ("chestnut brown", "coffee brown", "walnut brown"),
    "black": ("jet black", "charcoal black", "midnight black"),
    "white": ("ivory white", "snow white", "chalk white"),
    "gray": ("slate gray", "stone gray", "ash gray"),
}
"""What a listing may call a color instead of its plain name."""

PATTERNS = ("plain", "stripes", "dots", "checks", "zigzag")

BRANDS = (
    "Alder",
    "Brisa",
    "Corvo",
    "Dunmore",
    "Elva",
    "Fjord",
    "Granada",
    "Hollis",
    "Isola",
    "Juniper",
    "Kestrel",
    "Lumen",
)

GLYPHS = (
    "disk",
    "triangle",
    "square",
    "diamond",
    "star",
    "ring",
    "cross",
    "heart",
    "moon",
    "leaf",
    "bolt",
    "bars",
)
"""The mark each brand puts on its products: brand b carries glyph b."""

MATERIALS = tuple(sorted({material for kind in KINDS for material in kind.materials}))

USAGES = tuple(sorted({usage for kind in KINDS for usage in kind.usages}))

PRICE_LEVELS = ("budget", "middle", "premium")

AGE_GROUPS = ("18-24", "25-34", "35-49", "50-64", "65+")

COUNTRIES = ("DE", "ES", "FR", "GB", "NL", "PT", "SE", "US")
