"""Asking for similar items."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def similar(standing_service: Any) -> Any:
    def ask(item_id: str = "i3", **query: Any) -> dict[str, Any]:
        answer = standing_service.get(f"/v1/items/{item_id}/similar", **query)
        assert answer.status_code == 200, answer.text
        parsed: dict[str, Any] = answer.json()
        return parsed

    return ask
