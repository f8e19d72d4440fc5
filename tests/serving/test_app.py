"""The application as a whole: how it starts, what it says about itself, what every answer carries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.errors import InputError
from serving.app import create_app
from serving.settings import Settings

HEAVY = ("torch", "torchvision", "torch_geometric", "transformers", "timm", "implicit", "pandas", "scipy", "matplotlib")


def test_a_worker_starts_without_the_training_stack_in_under_two_seconds(small_bundle: Path) -> None:
    program = f"""
import asyncio, json, sys, time
from pathlib import Path
from serving.app import create_app
from serving.asked import FeedQuery, SimilarQuery
from serving.settings import Settings
app = create_app(Settings(bundle=Path({str(small_bundle)!r}), log_requests=False))
async def start():
    async with app.router.lifespan_context(app):
        await app.state.lists.similar("i3", SimilarQuery(k=5))
        await app.state.lists.feed("u1", FeedQuery(k=5))
asyncio.run(start())
print(json.dumps([time.process_time(), [name for name in {HEAVY!r} if name in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    cpu_s, heavy = json.loads(done.stdout.splitlines()[-1])
    assert heavy == []
    assert cpu_s < 2.0  # of its own: what else runs on the machine does not count


def test_every_answer_has_a_request_id_and_the_security_headers(standing_service: Any) -> None:
    for path in ("/", "/v1/items", "/v1/items/nope", "/nothing/here", "/docs"):
        answer = standing_service.get(path)
        assert len(answer.headers["x-request-id"]) == 32
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert "server" not in answer.headers


def test_a_sensible_request_id_is_kept_and_a_strange_one_is_not(standing_service: Any) -> None:
    kept = httpx.get(standing_service.base_url + "/health", headers={"x-request-id": "abc-123"})
    assert kept.headers["x-request-id"] == "abc-123"
    strange = httpx.get(standing_service.base_url + "/health", headers={"x-request-id": "x" * 100})
    assert len(strange.headers["x-request-id"]) == 32


def test_a_path_that_is_not_there_is_a_problem_404(standing_service: Any) -> None:
    answer = standing_service.get("/nothing/here")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "Not Found"}


def test_a_failure_inside_is_a_problem_500_that_names_its_log_entry(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(service.app.state.lists, "feed", fails)
    answer = service.get("/v1/users/u1/feed")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_storefront_and_its_files_are_served(standing_service: Any) -> None:
    page = standing_service.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "<title>" in page.text
    script = standing_service.get("/static/storefront.js")
    assert script.status_code == 200
    assert "javascript" in script.headers["content-type"]


def test_the_api_page_needs_nothing_from_elsewhere(standing_service: Any) -> None:
    page = standing_service.get("/docs").text
    assert "http" not in page.replace("http-equiv", "")
    for path in ("/docs/assets/swagger-ui-bundle.js", "/docs/assets/swagger-ui.css", "/docs/start.js"):
        assert path in page
        assert standing_service.get(path).status_code == 200
    assert "/openapi.json" in standing_service.get("/docs/start.js").text


def test_readiness_tells_the_version_and_the_state_of_redis(service: Any, publisher: Any) -> None:
    assert service.get("/ready").json() == {
        "ready": True,
        "version": publisher.current(),
        "redis": "up",
        "pending_events": 0,
        "policies": "files",
    }


def test_metrics_count_requests_by_route_and_answers_by_where_they_came_from(service: Any) -> None:
    for _ in range(3):
        service.feed("u1")
    service.get("/v1/items/i3/similar")
    service.get("/v1/items/nope/similar")
    assert service.metric("recsys_requests_total", route="/v1/users/{user_id}/feed", status="200") == 3
    assert service.metric("recsys_requests_total", route="/v1/items/{item_id}/similar", status="404") == 1
    assert service.metric("recsys_answers_total", surface="feed", source="published", store="redis") == 3
    assert service.metric("recsys_answers_total", surface="similar", store="redis") == 1
    assert service.metric("recsys_request_seconds_count", route="/v1/users/{user_id}/feed") == 3
    for _ in range(20):
        service.get("/somewhere/else")
    assert service.metric("recsys_requests_total", route="unmatched", status="404") == 20


def test_a_shop_folder_that_is_not_there_is_said_at_start(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a shop folder"):
        create_app(Settings(shop=tmp_path / "missing"))
