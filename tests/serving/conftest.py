"""A real Redis, a real socket, and bundles to publish."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import redis
import uvloop

from recsys.bundle import Bundle
from serving.embedded_redis import EmbeddedRedis
from serving.publishing import Publisher
from tests.serving.bundles import growing_bundle, rewritten_bundle
from tests.serving.redis_server import RedisServer, wait_for
from tests.serving.services import Service, listen, starter

T = TypeVar("T")


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Wait until something holds; fail if it does not in time."""
    return wait_for


@pytest.fixture(scope="session")
def run_apart() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a coroutine in an event loop as the service has it, and a thread of its own, as tests in a browser hold an
    event loop in this one.
    """

    def run(story: Coroutine[Any, Any, T]) -> T:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(uvloop.run, story).result()

    return run


@pytest.fixture(scope="session")
def redis_session() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="rs") as folder:
        server = RedisServer(Path(folder) / "redis")
        server.start()
        yield server
        server.stack.close()


@pytest.fixture
def redis_server(redis_session: RedisServer) -> RedisServer:
    """A running, empty server, shared by tests that leave it running."""
    redis_session.forget_everything()
    return redis_session


@pytest.fixture
def mortal_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of this test alone."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.stack.close()


@pytest.fixture
def publisher(redis_server: RedisServer, tmp_path: Path) -> Iterator[Publisher]:
    with redis_server.client() as client:
        yield Publisher(client, state_dir=tmp_path / "state")


@pytest.fixture(scope="session")
def rewritten() -> Callable[..., Path]:
    """A bundle written again with something changed: `rewritten_bundle`."""
    return rewritten_bundle


@pytest.fixture(scope="session")
def changed_bundle(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small bundle after another training run: same items and users, the item embeddings turned around."""
    old = Bundle.open(small_bundle)
    return rewritten_bundle(
        old, tmp_path_factory.mktemp("changed") / "bundle", item_embeddings=-np.asarray(old.item_embeddings)
    )


@pytest.fixture(scope="session")
def growing(searchable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `searchable` with what places new items: `growing_bundle`."""
    return growing_bundle(searchable, tmp_path_factory.mktemp("growing"))


@pytest.fixture
def start_asgi() -> Iterator[Callable[[Any], str]]:
    """Serves applications of any kind until the test ends."""
    with ExitStack() as stack:
        yield lambda app: listen(app, stack)


@pytest.fixture
def start_service() -> Iterator[Callable[..., Service]]:
    """Starts services that end with the test; takes settings by name."""
    with starter() as start:
        yield start


@pytest.fixture(scope="session")
def standing_service(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The small bundle, published and served, for tests that only read."""
    folder = tmp_path_factory.mktemp("standing")
    with EmbeddedRedis(folder / "redis") as server, starter() as start:
        with redis.Redis.from_url(server.url) as client:
            Publisher(client, state_dir=folder / "state").publish(Bundle.open(small_bundle))
        yield start(bundle=small_bundle, redis_url=server.url)


@pytest.fixture
def service(
    start_service: Callable[..., Service], redis_server: RedisServer, publisher: Publisher, small_bundle: Path
) -> Service:
    """The small bundle, published and served."""
    publisher.publish(Bundle.open(small_bundle))
    return start_service(bundle=small_bundle, redis_url=redis_server.url)
