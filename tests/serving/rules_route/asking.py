"""Putting rules, and asking for lists that they shape."""

from __future__ import annotations

from typing import Any

import httpx


def put(service: Any, *rules: dict[str, Any], headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    note = {"note": more.pop("note")} if "note" in more else {}
    body = {"rules": rules, **more}
    return httpx.put(service.base_url + "/v1/rules", json=body, params=note, headers=headers, timeout=10)


def post(service: Any, path: str, **body: Any) -> httpx.Response:
    return httpx.post(service.base_url + path, json=body, timeout=10)


def similar(service: Any, item_id: str = "i3", **query: Any) -> dict[str, Any]:
    answer = service.get(f"/v1/items/{item_id}/similar", **query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(answer: dict[str, Any]) -> list[str]:
    return [slot["item"]["item_id"] for slot in answer["recommendations"]]
