"""Every reason can be checked by who asks: against the grounds beside the score's split, and the catalog."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from recsys.bundle import Bundle

SAID = re.compile(
    r"(?P<because>because .*)|viewed or bought together by (?P<users>\d+) shoppers|same (?P<name>[^:]+): (?P<value>.+)"
    r"|(?P<alike>looks|reads) alike"
)


def answers(service: Any) -> Iterator[Any]:
    for mode in ("fused", "image", "text", "behavior", "complement"):
        yield service.get("/v1/items/i3/similar", k=8, mode=mode, split=True)
    for user in ("u0", "u1", "u2"):
        yield service.get(f"/v1/users/{user}/feed", k=8, split=True)
    yield service.get("/v1/users/nobody/feed", k=8, split=True, item="i4", cart="i6")
    asked = {"session": ["i2", "i8"], "like": ["i10"], "k": 8, "split": True}
    yield httpx.post(service.base_url + "/v1/recommend", json=asked)


def test_every_reason_holds_of_the_item_that_its_grounds_name(standing_service: Any) -> None:
    def item(item_id: str) -> Any:
        return standing_service.get(f"/v1/items/{item_id}").json()

    def nearest(item_id: str, kind: str) -> set[str]:
        near = standing_service.get(f"/v1/items/{item_id}/debug", neighbors=10).json()["neighbors"][kind]
        return {one["item_id"] for one in near}

    checked: dict[str, int] = {}
    for answer in answers(standing_service):
        assert answer.status_code == 200
        for slot in answer.json()["recommendations"]:
            shown, grounds = slot["item"], slot["grounds"]
            if grounds is None:
                assert slot["source"] in {"popular", "popular_in_category"}
                continue
            other = item(grounds["item_id"])
            for reason in slot["reasons"]:
                said = SAID.fullmatch(reason)
                assert said, reason
                kind = said.lastgroup or ""
                if kind == "because":
                    assert other["title"] in reason
                elif kind == "users":
                    assert int(said["users"]) == grounds["together"]
                elif kind == "value":
                    assert said["value"] in set(shown["attributes"][said["name"]]) & set(
                        other["attributes"][said["name"]]
                    )
                else:
                    by = {"looks": "image", "reads": "text"}[said["alike"]]
                    assert grounds[by] > 0
                    two = shown["item_id"], other["item_id"]
                    assert two[0] in nearest(two[1], by) or two[1] in nearest(two[0], by)
                checked[kind] = checked.get(kind, 0) + 1
    assert set(checked) == {"because", "users", "value", "alike"}
    assert min(checked.values()) >= 5


def test_grounds_are_what_the_bundle_holds_of_the_two_items(standing_service: Any, small_bundle: Any) -> None:
    bundle = Bundle.open(small_bundle)
    for slot in standing_service.get("/v1/items/i3/similar", k=8, split=True).json()["recommendations"]:
        row, grounds = bundle.items.idx(slot["item"]["item_id"]), slot["grounds"]
        assert grounds["item_id"] == "i3"
        assert grounds["together"] == bundle.met_both(np.array([3]), np.array([row]))[0]
        for kind, vectors in (("image", bundle.image_vectors), ("text", bundle.text_vectors)):
            one, other = np.asarray(vectors[3], dtype=np.float64), np.asarray(vectors[row], dtype=np.float64)
            length = np.linalg.norm(one) * np.linalg.norm(other)
            expected = None if length == 0 else pytest.approx(one @ other / length, abs=1e-4)
            assert grounds[kind] == expected
            assert slot["split"][kind] == expected
    assert "grounds" not in standing_service.get("/v1/items/i3/similar", k=8).json()["recommendations"][0]
