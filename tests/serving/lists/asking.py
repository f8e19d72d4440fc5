"""What lists show, page by page."""

from __future__ import annotations

from typing import Any


def shown(answer: dict[str, Any]) -> list[str]:
    return [slot["item"]["item_id"] for slot in answer["recommendations"]]


def pages(ask: Any, k: int, most: int = 100) -> list[list[str]]:
    """Leaf through a list to its end."""
    found: list[list[str]] = []
    cursor: dict[str, str] = {}
    for _ in range(most):
        answer = ask(k=k, **cursor)
        found.append(shown(answer))
        if answer["next_cursor"] is None:
            return found
        cursor = {"cursor": answer["next_cursor"]}
    raise AssertionError("the list does not end")
