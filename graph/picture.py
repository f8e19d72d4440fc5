"""A picture of what a node is connected to: itself in the middle, its neighbors relation by relation on both sides."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from xml.sax.saxutils import escape

from PIL import Image

from graph.schema import HAS, ITEM, EdgeType, is_mutual
from graph.view import Neighbor, Node, View

Thumbnail = Callable[[int], Image.Image | None]
"""The picture of an item by its row, None where it has none."""

WIDTH, COLUMN, CARD = 1120, 360, 220
ROW, HEAD, GAP, MARGIN = 46, 34, 18, 28
SMALL, LARGE = 38, 180
LONGEST = 38
COLORS = ("#1f6feb", "#b35900", "#1a7f37", "#8250df", "#bf3989", "#57606a", "#9a6700", "#0a7b83")


@dataclass(frozen=True)
class Block:
    """The neighbors by one relation.

    Args:
        title: what stands above them.
        color: of their lines.
        shown: the heaviest.
        n_more: how many others there are.
    """

    title: str
    color: str
    shown: tuple[Neighbor, ...]
    n_more: int

    @property
    def height(self) -> int:
        """Of the block, in pixels."""
        return HEAD + ROW * len(self.shown) + (20 if self.n_more else 0) + GAP


def neighborhood_svg(view: View, node: Node, thumbnail: Thumbnail, *, most: int = 5) -> str:
    """An SVG picture of a node's neighborhood; thumbnails are inside it.

    Args:
        view: the graph.
        node: in the middle.
        thumbnail: pictures of items.
        most: neighbors of a relation that are shown; how many more there are is told.
    """
    left, right = _sides(_blocks(view, node, most))
    height = max(sum(block.height for block in side) for side in (left, right))
    height = max(height, LARGE + 120) + 2 * MARGIN
    lines: list[str] = []
    boxes: list[str] = []
    for side, blocks in (("left", left), ("right", right)):
        y = (height - sum(block.height for block in blocks)) / 2
        for block in blocks:
            new = _draw(view, block, thumbnail, on_left=side == "left", y=y, height=height)
            lines += new[0]
            boxes += new[1]
            y += block.height
    card = _card(view, node, height, thumbnail)
    title = escape(view.title(node))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" font-family="system-ui, Helvetica, Arial, sans-serif" role="img">'
        f"<title>What {title} is connected to</title>"
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(lines)}{"".join(boxes)}{card}</svg>\n'
    )


def _blocks(view: View, node: Node, most: int) -> list[Block]:
    """One for each relation and direction, in the order of the relations."""
    found: dict[tuple[EdgeType, bool], list[Neighbor]] = {}
    for edge in view.neighbors(node):
        outward = edge.outward or is_mutual(edge.edge_type)
        found.setdefault((edge.edge_type, outward), []).append(edge)
    return [
        Block(
            _spelled(edge_type, outward=outward),
            COLORS[number % len(COLORS)],
            tuple(edges[:most]),
            max(0, len(edges) - most),
        )
        for number, ((edge_type, outward), edges) in enumerate(found.items())
    ]


def _spelled(edge_type: EdgeType, *, outward: bool) -> str:
    source, relation, target = edge_type
    kind = (target if outward else source).rpartition(":")[2]
    if relation == HAS:
        return kind
    words = relation.replace(":", " · ").replace("_", " ")
    return f"{words} ({kind})" if outward else f"{kind} ({words})"


def _sides(blocks: list[Block]) -> tuple[list[Block], list[Block]]:
    """Two columns of about one height, the order kept."""
    total, left, height = sum(block.height for block in blocks), [], 0
    rest = list(blocks)
    while rest and height + rest[0].height / 2 <= total / 2:
        height += rest[0].height
        left.append(rest.pop(0))
    return left, rest


def _draw(
    view: View, block: Block, thumbnail: Thumbnail, *, on_left: bool, y: float, height: float
) -> tuple[list[str], list[str]]:
    """Lines to the middle, and boxes with what stands in them."""
    lines: list[str] = []
    boxes: list[str] = []
    x = MARGIN if on_left else WIDTH - MARGIN - COLUMN
    edge, middle = (x + COLUMN, WIDTH / 2 - CARD / 2) if on_left else (x, WIDTH / 2 + CARD / 2)
    boxes.append(
        f'<text x="{x}" y="{y + 22:g}" font-size="14" font-weight="600" fill="{block.color}">'
        f"{escape(_cut(block.title))}</text>"
    )
    heaviest = max(one.weight for one in block.shown)
    for number, one in enumerate(block.shown):
        top = y + HEAD + ROW * number
        center = top + (ROW - 6) / 2
        share = one.weight / heaviest
        half = (edge + middle) / 2
        lines.append(
            f'<path d="M{edge} {center:g} C{half:g} {center:g} {half:g} {height / 2:g} {middle:g} {height / 2:g}" '
            f'fill="none" stroke="{block.color}" stroke-width="{1 + 2.5 * share:.2f}" stroke-opacity="0.45"/>'
        )
        boxes.append(
            f'<rect x="{x}" y="{top:g}" width="{COLUMN}" height="{ROW - 6}" rx="6" fill="#f6f8fa" '
            f'stroke="{block.color}" stroke-opacity="0.35"/>'
        )
        picture = thumbnail(one.node[1]) if one.node[0] == ITEM else None
        inset = 10
        if picture is not None:
            boxes.append(_image(picture, x + 3, top + 1, SMALL))
            inset = SMALL + 12
        label, weight = escape(_cut(view.title(one.node), LONGEST - (4 if picture else 0))), f"{one.weight:.3g}"
        boxes.append(
            f'<text x="{x + inset}" y="{center + 5:g}" font-size="14" fill="#1f2328">{label}</text>'
            f'<text x="{x + COLUMN - 8}" y="{center + 4:g}" font-size="12" fill="#57606a" text-anchor="end">'
            f"{weight}</text>"
        )
    if block.n_more:
        at = y + HEAD + ROW * len(block.shown) + 12
        boxes.append(f'<text x="{x + 10}" y="{at:g}" font-size="12" fill="#57606a">and {block.n_more:,} more</text>')
    return lines, boxes


def _card(view: View, node: Node, height: float, thumbnail: Thumbnail) -> str:
    picture = thumbnail(node[1]) if node[0] == ITEM else None
    tall = (LARGE + 84) if picture is not None else 84
    x, y = WIDTH / 2 - CARD / 2, height / 2 - tall / 2
    parts = [
        f'<rect x="{x:g}" y="{y:g}" width="{CARD}" height="{tall}" rx="10" fill="#ffffff" stroke="#1f2328" '
        f'stroke-width="1.5"/>'
    ]
    if picture is not None:
        parts.append(_image(picture, WIDTH / 2 - LARGE / 2, y + 12, LARGE))
    told_title = _wrapped(view.title(node), 26)[:2]
    at = y + tall - (50 if len(told_title) > 1 else 42)
    for number, line in enumerate(told_title):
        parts.append(
            f'<text x="{WIDTH / 2:g}" y="{at + 18 * number:g}" font-size="15" font-weight="600" fill="#1f2328" '
            f'text-anchor="middle">{escape(line)}</text>'
        )
    told = escape(_cut(f"{node[0]} {view.name(node)}", 30))
    parts.append(
        f'<text x="{WIDTH / 2:g}" y="{y + tall - 14:g}" font-size="12" fill="#57606a" '
        f'text-anchor="middle">{told}</text>'
    )
    return "".join(parts)


def _image(picture: Image.Image, x: float, y: float, side: int) -> str:
    small = picture.convert("RGB")
    small.thumbnail((2 * side, 2 * side))
    data = io.BytesIO()
    small.save(data, "JPEG", quality=85)
    told = base64.b64encode(data.getvalue()).decode()
    return f'<image x="{x:g}" y="{y:g}" width="{side}" height="{side}" href="data:image/jpeg;base64,{told}"/>'


def _cut(text: str, longest: int = LONGEST) -> str:
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return plain if len(plain) <= longest else plain[: longest - 1].rstrip() + "…"


def _wrapped(text: str, width: int) -> list[str]:
    """At most two lines, the second cut."""
    plain = _cut(text, 2 * width)
    if len(plain) <= width:
        return [plain]
    at = plain.rfind(" ", 0, width + 1)
    at = at if at > 0 else width
    return [plain[:at], _cut(plain[at:].strip(), width)]
