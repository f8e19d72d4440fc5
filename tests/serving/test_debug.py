"""The debug page of an item: its neighbors, its place in the graph, and why it is not in an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.pipeline.moment import Moment
from recsys.pipeline.ranked import Ranked
from recsys.pipeline.request import Request
from recsys.pipeline.trace import standing
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender


def debug(service: Any, item_id: str, **query: Any) -> dict[str, Any]:
    answer = service.get(f"/v1/items/{item_id}/debug", **query)
    assert answer.status_code == 200, answer.text
    parsed: dict[str, Any] = answer.json()
    return parsed


def test_neighbors_are_told_by_modality_and_from_the_graph(standing_service: Any, small_bundle: Path) -> None:
    bundle = Bundle.open(small_bundle)
    told = debug(standing_service, "i3", neighbors=4)
    assert told["item"]["item_id"] == "i3"
    assert told["why"] is None
    for kind, vectors in (("image", bundle.image_vectors), ("text", bundle.text_vectors)):
        cosine = vectors @ vectors[3]
        best = [f"i{row}" for row in np.argsort(-cosine) if row != 3][:4]
        assert [one["item_id"] for one in told["neighbors"][kind]] == best
    rows, users = bundle.together(3)
    together = [(one["item_id"], one["score"]) for one in told["neighbors"]["together"]]
    assert together == [(f"i{row}", n) for row, n in zip(rows[:4].tolist(), users[:4].tolist(), strict=True)]
    assert told["graph"]["users"] == int(bundle.popularity[3])
    assert told["graph"]["trained"] is True
    values = {(one["name"], one["value"]): one["items"] for one in told["graph"]["values"]}
    assert values == {
        ("brand", "Dune"): 15,
        ("color", "Red"): 20,
        ("category", "Apparel"): 30,
        ("category", "Apparel > Shoe"): 30,
    }
    assert [one["items"] for one in told["graph"]["values"]] == [15, 20, 30, 30]


def test_why_an_item_is_not_in_a_feed(service: Any, small_bundle: Path) -> None:
    shown = service.feed_ids("u1", 58)
    first = debug(service, shown[0], user_id="u1", k=3)["why"]
    assert (first["slot"], first["hidden_by"], first["rank"]) == (1, [], 1)
    below = debug(service, shown[7], user_id="u1", k=3)["why"]
    assert (below["slot"], below["rank"], below["measure"]) == (None, 8, "taste")
    bundle = Bundle.open(small_bundle)
    taste = bundle.item_embeddings @ bundle.user_embeddings[1]
    assert below["below_by"] == pytest.approx(float(taste[int(shown[2][1:])] - taste[int(shown[7][1:])]), rel=1e-4)
    seen = bundle.items[int(bundle.seen(1)[0])]
    assert debug(service, seen, user_id="u1")["why"]["hidden_by"] == ["seen"]
    assert debug(service, "i57", user_id="u1")["why"]["hidden_by"] == ["unavailable"]
    service.post({"user_id": "u1", "item_id": shown[0], "event_type": "view"})
    assert "viewed" in debug(service, shown[0], user_id="u1")["why"]["hidden_by"]
    stranger = debug(service, "i3", user_id="nobody")["why"]
    assert stranger["measure"] == "popularity"


def test_why_an_item_is_not_among_those_like_another(standing_service: Any) -> None:
    answer = standing_service.get("/v1/items/i3/similar", k=20).json()
    shown = [slot["item"]["item_id"] for slot in answer["recommendations"]]
    why = debug(standing_service, shown[15], page="i3", k=5)["why"]
    assert (why["surface"], why["slot"], why["measure"]) == ("similar", None, "likeness")
    assert why["below_by"] > 0
    assert debug(standing_service, shown[2], page="i3", k=5)["why"]["slot"] == 3
    assert debug(standing_service, "i3", page="i3")["why"]["hidden_by"] == ["its own page"]


def test_the_step_that_left_an_item_out_is_named(two_tastes: Bundle) -> None:
    class Thrift:
        name = "thrift"

        def apply(self, ranked: Ranked, moment: Moment) -> Ranked:
            return ranked.take(ranked.rows != 2)

    class Backwards:
        name = "backwards"

        def apply(self, ranked: Ranked, moment: Moment) -> Ranked:
            return ranked.take(slice(None, None, -1))

    recommender = BundleRecommender(two_tastes)
    moment = recommender.moment(Request(2, UserState("u2"), pool=4))
    told = standing(recommender, moment, 2, [Backwards(), Thrift()])
    assert told.places == {"candidates": 2, "backwards": 3, "thrift": None}
    assert (told.dropped_by, told.slot, told.rank) == ("thrift", None, 2)
    assert told.below_by is not None
    assert told.below_by < 0  # it is above the cut: the stage keeps it out, not its score
    far = standing(recommender, moment, 8, [Backwards()])
    assert far.places == {"candidates": None, "backwards": None}
    assert far.below_by == pytest.approx(0.7 - 0.6)  # i6 has the last slot


def test_an_unknown_item_has_no_debug_page(standing_service: Any) -> None:
    assert standing_service.get("/v1/items/nope/debug").status_code == 404
    assert standing_service.get("/v1/items/i3/debug", page="nope").json()["item_id"] == "nope"
    assert standing_service.get("/v1/items/i3/debug", colour="red").status_code == 422
