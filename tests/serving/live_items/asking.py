"""A new item, and what is asked of a service to find it."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx
from PIL import Image

MUG: dict[str, Any] = {
    "title": "Crimson cup",
    "price": 3.5,
    "attributes": {"color": ["Red"], "category": ["mug > tall"]},
}


def picture(color: str = "blue") -> str:
    """A mug as the shop draws them: colored above, white below."""
    drawn = Image.new("RGB", (64, 64), "white")
    drawn.paste(color, (0, 0, 64, 32))
    buffer = io.BytesIO()
    drawn.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def shown(answer: httpx.Response, name: str = "recommendations") -> list[str]:
    assert answer.status_code == 200, answer.text
    return [slot["item"]["item_id"] for slot in answer.json()[name]]


def similar(service: Any, item_id: str, **query: Any) -> list[str]:
    return shown(service.get(f"/v1/items/{item_id}/similar", **query))


def searched(service: Any, words: str, **query: Any) -> list[str]:
    return shown(service.ask("/v1/search", {"words": words, **query}), "results")
