"""An item as the API shows it, and the browse grid: both straight from a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson
from numpy.typing import NDArray

from recsys.bundle import Bundle


def item_view(bundle: Bundle, item_idx: int) -> dict[str, Any]:
    """One item: item_id, title, description, price, available, image_url, attributes, match_score; null = absent."""
    display = bundle.display(item_idx)
    image = display.get("image") or ""
    if image and not image.startswith(("http://", "https://", "//")):
        image = f"/v1/images/{quote(display['item_id'], safe='')}"
    match_score = float(bundle.match_scores[item_idx])
    return {
        "item_id": display["item_id"],
        "title": display.get("title") or "",
        "description": display.get("description") or "",
        "price": display.get("price"),
        "available": bool(bundle.available[item_idx]),
        "image_url": image or None,
        "attributes": display.get("attributes") or {},
        "match_score": None if np.isnan(match_score) else match_score,
    }


def item_json(bundle: Bundle, item_idx: int) -> bytes:
    """`item_view` as JSON."""
    return orjson.dumps(item_view(bundle, item_idx))


@dataclass(frozen=True)
class Page:
    """A part of the browse grid.

    Args:
        item_idx: rows of the items shown, most popular first.
        total: how many the whole grid has.
        next_offset: where the next part begins, None at the end.
    """

    item_idx: tuple[int, ...]
    total: int
    next_offset: int | None


class Grid:
    """Items by popularity, of a category or with a word in their title."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def page(self, *, k: int, offset: int, category: str | None = None, q: str | None = None) -> Page:
        """A part of the grid.

        Args:
            k: items at most.
            offset: items to skip.
            category: only items of this category; none where it is unknown.
            q: only items whose title holds this, whatever the case.
        """
        rows = self._by_popularity if category is None else self._bundle.category_members(category)
        if q:
            wanted = q.casefold()
            rows = rows[[wanted in self._titles[row] for row in rows.tolist()]] if len(rows) else rows
        shown = tuple(rows[offset : offset + k].tolist())
        end = offset + len(shown)
        return Page(shown, len(rows), end if shown and end < len(rows) else None)

    @cached_property
    def _by_popularity(self) -> NDArray[np.int64]:
        rows = np.argsort(-self._bundle.popularity, kind="stable").astype(np.int64)
        return rows[~np.isin(rows, self._bundle.removed)]

    @cached_property
    def _titles(self) -> list[str]:
        return [(display.get("title") or "").casefold() for display in self._bundle.displays()]
