"""Workers of a Redis that loses what it has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from serving.documents import Documents
from serving.settings import Settings
from serving.store import Store
from serving.telemetry import Telemetry
from tests.serving.lost_policies.rules import RULES


@pytest.fixture
def put_apart(run_apart: Callable[..., int]) -> Callable[[str, list[dict[str, Any]]], int]:
    """As `recsys rules put` does, in whatever Redis has, knowing nothing of what was there before."""

    async def story(url: str, rules: list[dict[str, Any]]) -> int:
        store = Store(url, Settings(redis_timeout_s=2.0), Telemetry())
        try:
            return await Documents(store, RULES).put(orjson.dumps({"rules": rules}))
        finally:
            await store.close()

    return lambda url, rules: run_apart(story(url, rules))


@pytest.fixture
def start_worker(
    start_service: Callable[..., Any], mortal_redis: Any, small_bundle: Path, tmp_path: Path
) -> Callable[..., Any]:
    """Starts workers, each with a state folder by its name."""

    def start(name: str = "one", **given: Any) -> Any:
        own = {"bundle": small_bundle, "redis_url": mortal_redis.url, "state_dir": tmp_path / name}
        return start_service(**{**own, **given})

    return start


@pytest.fixture
def forget_unseen(mortal_redis: Any, eventually: Any) -> Callable[[], None]:
    """Empties Redis right after a slow worker has looked (and put back what was lost), so that it looks no sooner than
    somebody else can put something."""

    def forget() -> None:
        with mortal_redis.client() as client:
            client.flushall()
            eventually(lambda: client.exists(RULES))
            client.flushall()

    return forget
