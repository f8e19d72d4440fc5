"""`POST /v1/search` over a real socket, on a shop whose meanings are known by hand (`searchable`)."""

from __future__ import annotations

import base64
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from recsys.bundle import Bundle
from serving.publishing import Publisher

RED, MUGS, SHOES = set(range(0, 24, 3)), set(range(0, 24, 2)), set(range(1, 24, 2))
Ask = Callable[..., httpx.Response]


@pytest.fixture
def found_service(start_service: Callable[..., Any], searchable: Path) -> Any:
    """The searchable shop, served from its bundle without Redis."""
    return start_service(bundle=searchable / "bundle")


@pytest.fixture
def ask(found_service: Any) -> Ask:
    def post(**query: Any) -> httpx.Response:
        return httpx.post(found_service.base_url + "/v1/search", json=query, timeout=20)

    return post


def rows(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [int(result["item"]["item_id"][1:]) for result in answer.json()["results"]]


def picture(searchable: Path, row: int) -> bytes:
    return (searchable / "shop" / "images" / f"i{row}.png").read_bytes()


def test_words_are_answered_without_redis_and_say_why_and_by_what(ask: Ask, searchable: Path) -> None:
    answer = ask(words="red mug", k=4)
    assert set(rows(answer)) == RED & MUGS
    body = answer.json()
    assert body["store"] == "bundle"
    assert body["model_version"] == Bundle.open(searchable / "bundle").version
    assert body["channels"] == ["lexical", "words_to_words", "words_to_pictures"]
    assert body["source"] == body["results"][0]["source"]
    assert body["results"][0]["reasons"][0] == "words match: red mug"
    assert {result["propensity"] for result in body["results"]} == {1.0}
    assert (body["total"], body["next_offset"], len(body["recommendation_id"])) == (None, 4, 32)
    assert answer.headers["cache-control"] == "no-store"


def test_an_answer_to_words_that_the_encoder_cannot_read_says_so(ask: Ask) -> None:
    assert ask(words="red mug").json()["warnings"] == []
    (warning,) = ask(words="红色 mug").json()["warnings"]
    assert "does not know 2 of the 5 letters" in warning


def test_a_picture_may_come_in_the_json_or_as_a_file(found_service: Any, ask: Ask, searchable: Path) -> None:
    red_mug = picture(searchable, 0)
    in_json = ask(picture=base64.b64encode(red_mug).decode(), k=4)
    url = found_service.base_url + "/v1/search"
    as_file = httpx.post(url, files={"picture": ("p.png", red_mug)}, data={"query": '{"k": 4}'}, timeout=20)
    assert rows(in_json) == rows(as_file)
    assert set(rows(as_file)) == RED & MUGS
    both = httpx.post(
        url,
        files={"picture": ("p.png", red_mug)},
        data={"words": "green shoe", "query": '{"picture_weight": 0.0, "k": 3}'},
        timeout=20,
    )
    assert set(rows(both)) <= SHOES
    examples = httpx.post(url, files=[("like_picture", red_mug)], data={"query": '{"k": 4}'}, timeout=20)
    assert set(rows(examples)) == RED & MUGS


def test_filters_examples_prices_and_pages_are_passed_on(ask: Ask) -> None:
    assert set(rows(ask(words="mug", filters={"color": ["red"], "category": ["mug"]}))) == RED & MUGS
    assert set(rows(ask(words="mug shoe", min_price=4, max_price=7, available_only=False))) == {3, 4, 5, 6}
    assert not set(rows(ask(words="mug", unlike={"items": ["i0"]}, k=7))) & RED
    assert set(rows(ask(like={"items": ["i0"]}, k=3))) == RED & MUGS - {0}
    assert rows(ask(words="red", k=3)) + rows(ask(words="red", k=3, offset=3)) == rows(ask(words="red", k=6))


def test_an_answer_tells_what_each_part_gives_to_a_score_also_what_is_held_against_an_item(
    ask: Ask, searchable: Path
) -> None:
    red_mug = base64.b64encode(picture(searchable, 0)).decode()
    for result in ask(words="mug", unlike={"pictures": [red_mug]}, k=24).json()["results"]:
        assert "against" in result["parts"]
        assert sum(result["parts"].values()) == pytest.approx(result["score"], abs=1e-6)


def test_what_a_user_looked_at_orders_what_is_found(found_service: Any, ask: Ask) -> None:
    found_service.post({"user_id": "new", "item_id": "i1", "event_type": "view"})
    assert set(rows(ask(words="red", user_id="new", user_weight=0.6, k=4))) == RED & SHOES
    assert set(rows(ask(words="red", user_id="u0", user_weight=0.6, k=4))) == RED & MUGS
    assert rows(ask(words="red", user_id="nobody")) == rows(ask(words="red"))


@pytest.mark.parametrize(
    ("query", "kind", "place"),
    [
        ({}, "invalid-request", "body.words"),
        ({"words": "   "}, "invalid-request", "body.words"),
        ({"words": 3}, "invalid-request", "body.words"),
        ({"words": "a", "colour": "red"}, "invalid-request", "body.colour"),
        ({"words": "a", "k": 101}, "invalid-request", "body.k"),
        ({"words": "a", "filters": {"size": ["xl"]}}, "invalid-request", "body.filters.size"),
        ({"words": "a", "filters": {"color": ["pink"]}}, "invalid-request", "body.filters.color"),
        ({"words": "a", "filters": {"color": []}}, "invalid-request", "body.filters.color"),
        ({"words": "a", "like": {"items": ["nope"]}}, "invalid-request", "body.like.items"),
        ({"words": "a", "min_price": 3, "max_price": 2}, "invalid-request", "body.max_price"),
        ({"picture": "no base64!"}, "not-a-picture", "body.picture"),
        ({"picture": base64.b64encode(b"<svg/>").decode()}, "not-a-picture", "body.picture"),
        ({"like": {"pictures": [base64.b64encode(b"x" * 99).decode()]}}, "not-a-picture", "body.like.pictures"),
    ],
)
def test_a_query_that_cannot_be_answered_is_a_problem_422_that_names_the_place(
    ask: Ask, query: dict[str, Any], kind: str, place: str
) -> None:
    answer = ask(**query)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:recsys:problem:{kind}"
    assert body["errors"][0]["place"] == place
    assert place in body["detail"]


def test_a_form_with_foreign_or_misplaced_parts_is_refused(found_service: Any) -> None:
    url = found_service.base_url + "/v1/search"
    for given, place in (
        ({"data": {"colour": "red"}, "files": {"picture": b"x"}}, "body.colour"),
        ({"data": {"picture": "text"}, "files": {"like_picture": b"x"}}, "body.picture"),
        ({"files": {"words": b"x"}}, "body.words"),
        ({"files": [("picture", b"x"), ("picture", b"y")]}, "body.picture"),
    ):
        answer = httpx.post(url, timeout=20, **given)
        assert (answer.status_code, answer.json()["errors"][0]["place"]) == (422, place)
    broken = httpx.post(url, content=b"nonsense", headers={"content-type": "multipart/form-data; boundary=b"})
    assert broken.status_code in {400, 422}
    assert broken.headers["content-type"] == "application/problem+json"


def test_other_bodies_and_larger_ones_are_refused_and_pictures_have_their_own_limits(
    start_service: Callable[..., Any], searchable: Path
) -> None:
    service = start_service(
        bundle=searchable / "bundle", max_body_bytes=500, search_max_body_bytes=20_000, search_max_pixels=5_000
    )
    url = service.base_url + "/v1/search"
    plain = httpx.post(url, content=b"red", headers={"content-type": "text/plain"})
    assert (plain.status_code, plain.json()["type"]) == (415, "urn:recsys:problem:unsupported-media-type")
    assert httpx.post(url, json={"words": "red mug", "filters": {"color": ["red"] * 90}}).status_code == 200
    assert httpx.post(url, json={"picture": "A" * 30_000}).status_code == 413
    chunked = httpx.post(
        url, content=(b"x" * 1000 for _ in range(30)), headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert chunked.status_code in {400, 413}
    events = httpx.post(service.base_url + "/v1/events", json={"events": [{"user_id": "u" * 600}]})
    assert events.status_code == 413
    small = httpx.post(url, files={"picture": picture(searchable, 0)})
    assert small.status_code == 200
    from io import BytesIO

    from PIL import Image

    large = BytesIO()
    Image.new("RGB", (200, 200)).save(large, "PNG")
    refused = httpx.post(url, files={"picture": large.getvalue()})
    assert refused.json()["type"] == "urn:recsys:problem:not-a-picture"
    assert "at most 5,000 are taken" in refused.json()["detail"]


def test_a_bundle_that_cannot_encode_a_picture_says_which_encoder_is_missing_and_why(
    standing_service: Any, searchable: Path
) -> None:
    url = standing_service.base_url + "/v1/search"
    words = httpx.post(url, json={"words": "red mug", "k": 10}, timeout=20).json()
    assert words["channels"] == ["lexical"]
    assert words["store"] == "redis"
    assert words["total"] == 39
    refused = httpx.post(url, files={"picture": picture(searchable, 0)}, timeout=20)
    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:recsys:problem:cannot-search"
    assert "onnx/image_encoder.onnx is missing" in refused.json()["detail"]


def test_a_bundle_without_an_index_is_served_and_says_that_it_cannot_be_searched(
    start_service: Callable[..., Any], small_bundle: Path, tmp_path: Path
) -> None:
    from recsys.bundle_format import FileEntry, content_version

    old = shutil.copytree(small_bundle, tmp_path / "old")
    shutil.rmtree(old / "search")
    manifest = orjson.loads((old / "manifest.json").read_bytes())
    manifest["files"] = {name: entry for name, entry in manifest["files"].items() if not name.startswith("search/")}
    manifest["version"] = content_version({n: FileEntry.model_validate(e) for n, e in manifest["files"].items()})
    (old / "manifest.json").write_bytes(orjson.dumps(manifest))
    service = start_service(bundle=old)
    assert service.get("/v1/items/i3/similar").status_code == 200
    refused = httpx.post(service.base_url + "/v1/search", json={"words": "red"})
    assert refused.status_code == 409
    assert "has no search index" in refused.json()["detail"]


def test_a_version_switch_changes_what_is_found(
    *,
    start_service: Callable[..., Any],
    redis_server: Any,
    publisher: Publisher,
    small_bundle: Path,
    searchable: Path,
    eventually: Callable[..., None],
) -> None:
    publisher.publish(Bundle.open(small_bundle))
    service = start_service(redis_url=redis_server.url)
    url = service.base_url + "/v1/search"
    assert httpx.post(url, json={"words": "crimson"}).json()["results"] == []
    published = publisher.publish(Bundle.open(searchable / "bundle"))
    eventually(lambda: service.get("/ready").json()["version"] == published.version)
    answer = httpx.post(url, json={"words": "crimson", "k": 8})
    assert answer.json()["model_version"] == published.version
    assert set(rows(answer)) <= RED


def test_what_was_shown_is_logged_like_other_answers(
    start_service: Callable[..., Any],
    redis_server: Any,
    publisher: Publisher,
    searchable: Path,
    eventually: Callable[..., None],
) -> None:
    from serving.keys import Keys

    publisher.publish(Bundle.open(searchable / "bundle"))
    service = start_service(redis_url=redis_server.url)
    answer = httpx.post(service.base_url + "/v1/search", json={"words": "red", "k": 3, "user_id": "u0"}).json()
    assert answer["store"] == "redis"
    with redis_server.client() as client:
        eventually(lambda: client.xlen(Keys().impressions) == 1)
        (_, entry), *_ = client.xrange(Keys().impressions)
    assert entry[b"surface"] == b"search"
    assert entry[b"subject"] == b"u0"
    assert entry[b"recommendation_id"].decode() == answer["recommendation_id"]
    slots = orjson.loads(entry[b"slots"])
    assert slots["items"] == [result["item"]["item_id"] for result in answer["results"]]
    assert slots["sources"] == [result["source"] for result in answer["results"]]
    assert service.metric("recsys_answers_total", surface="search", store="redis") == 1


def test_searches_wait_their_turn_and_neither_hold_up_other_routes_nor_pile_up(
    start_service: Callable[..., Any], searchable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start_service(bundle=searchable / "bundle", search_threads=1, search_waiting=1)
    searcher = service.app.state.watcher.live.searcher
    go_on, answer, begun = threading.Event(), type(searcher).search, threading.Semaphore(0)

    def slow(self: Any, query: Any) -> Any:
        begun.release()
        assert go_on.wait(20)
        return answer(self, query)

    monkeypatch.setattr(type(searcher), "search", slow)
    done: list[int] = []
    asking = [
        threading.Thread(
            target=lambda: done.append(
                httpx.post(service.base_url + "/v1/search", json={"words": "red"}, timeout=30).status_code
            )
        )
        for _ in range(2)
    ]
    for thread in asking:
        thread.start()
        time.sleep(0.2)
    assert begun.acquire(timeout=10)
    assert service.get("/v1/items/i3/similar").status_code == 200
    busy = httpx.post(service.base_url + "/v1/search", json={"words": "red"}, timeout=30)
    assert (busy.status_code, busy.json()["type"]) == (503, "urn:recsys:problem:search-busy")
    assert busy.headers["retry-after"] == "1"
    go_on.set()
    for thread in asking:
        thread.join(20)
    assert done == [200, 200]


def test_the_encoders_open_right_after_the_start_unless_said_otherwise(
    start_service: Callable[..., Any], searchable: Path
) -> None:
    lazy, warm = (
        start_service(bundle=searchable / "bundle", search_warm=warm).app.state.watcher.live.searcher.encoding
        for warm in (False, True)
    )
    deadline = time.monotonic() + 20
    while set(warm._opened) != {"text", "image", "tower text", "tower image"}:
        assert time.monotonic() < deadline, f"only {set(warm._opened)} were opened"
        time.sleep(0.02)
    assert set(lazy._opened) == set()
