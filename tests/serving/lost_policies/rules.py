"""Putting rules, and asking workers which ones they go by."""

from __future__ import annotations

from typing import Any

import httpx

from serving.keys import Keys

HIDE = {"name": "not cheap", "hide": "price < 30"}


RULES = Keys().rules


def put(worker: Any, *rules: dict[str, Any]) -> int:
    done = httpx.put(worker.base_url + "/v1/rules", json={"rules": rules}, timeout=10)
    assert done.status_code == 200, done.text
    version: int = done.json()["version"]
    return version


def holds(worker: Any, version: int) -> bool:
    """Whether a worker goes by a version of the rules."""
    return bool(worker.get("/v1/items/i3/similar").json()["rules_version"] == version)


def restored(what: str, *workers: Any) -> float:
    found: float = sum(worker.metric("recsys_policies_restored_total", what=what) for worker in workers)
    return found


def prices(answer: dict[str, Any]) -> list[float]:
    return [slot["item"]["price"] for slot in answer["recommendations"]]
