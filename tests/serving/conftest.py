"""A real Redis, a real socket, and bundles to publish."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
import redis
import uvicorn
from fastapi import FastAPI
from redis.backoff import NoBackoff
from redis.retry import Retry

from recsys.bundle import Bundle
from recsys.bundle_writer import write_bundle
from serving.app import create_app
from serving.embedded_redis import EmbeddedRedis
from serving.publishing import Publisher
from serving.settings import Settings

T = TypeVar("T")


def wait_for(true: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Wait until something holds; fail if it does not in time."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Wait until something holds; fail if it does not in time."""
    return wait_for


@pytest.fixture(scope="session")
def run_apart() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a coroutine in a thread of its own, as tests in a browser hold an event loop in this one."""

    def run(story: Coroutine[Any, Any, T]) -> T:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, story).result()

    return run


@dataclass
class RedisServer:
    """A server that a test may kill and bring back."""

    folder: Path
    stack: ExitStack = field(default_factory=ExitStack)
    running: EmbeddedRedis | None = None
    url: str = ""

    def start(self) -> None:
        self.running = self.stack.enter_context(EmbeddedRedis(self.folder))
        self.url = self.running.url

    def kill(self) -> None:
        """As a power cut would, once everything written so far is on disk (a server alone syncs once a second)."""
        assert self.running is not None
        with self.client() as client:
            client.set("marker", 1)
            client.delete("marker")
            synced = client.execute_command("WAITAOF", 1, 0, 5000)
            assert synced[0] == 1
        os.kill(self.running.pid, signal.SIGKILL)
        wait_for(lambda: not self.answers())
        self.stack.close()

    def forget_everything(self) -> None:
        """What a server without persistence does when it starts again."""
        with self.client() as client:
            client.flushall()

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0))

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


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


def rewritten_bundle(old: Bundle, folder: Path, **changed: Any) -> Path:
    """All that a bundle holds, but for what is given by the names of `write_bundle`."""
    kept: dict[str, Any] = {
        "items": old.items,
        "users": old.users,
        "item_embeddings": np.asarray(old.item_embeddings),
        "user_embeddings": np.asarray(old.user_embeddings),
        "text_vectors": np.asarray(old.text_vectors),
        "image_vectors": np.asarray(old.image_vectors),
        "popularity": np.asarray(old.popularity),
        "match_scores": np.asarray(old.match_scores),
        "display": list(old.displays()),
        "seen": (np.asarray(old.seen_indptr), np.asarray(old.seen_indices)),
        "similar_idx": np.asarray(old.similar.idx),
        "similar_score": np.asarray(old.similar.score),
        "neighbors": {name: (np.asarray(of.idx), np.asarray(of.score)) for name, of in old.neighbors.items()},
        "co_idx": np.asarray(old.co_idx),
        "co_count": np.asarray(old.co_count),
        "config": {},
        "metrics": {},
        "fingerprints": {},
    }
    return write_bundle(folder, **kept | changed)


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
    """The bundle of `searchable` with what places new items: +1 for a mug by its words or its category, -1 for a shoe.

    Of what a bundle's tower hears, this one minds words and values: place = sign(mug - shoe + message).
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from graph.cold_tower import ColdTower

    folder = tmp_path_factory.mktemp("growing")
    shapes: dict[str, list[int | str]] = {
        "text": ["n", 5],
        "image": ["n", 12],
        "trust": ["n"],
        "message": ["n", 1],
    }
    tower = helper.make_graph(
        [
            helper.make_node("MatMul", ["text", "matrix"], ["said"]),
            helper.make_node("Add", ["said", "message"], ["heard"]),
            helper.make_node("Sign", ["heard"], ["output"]),
        ],
        "cold_item",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.array([[0], [0], [0], [1], [-1]], dtype=np.float32), "matrix")],
    )
    onnx.save(helper.make_model(tower, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "cold.onnx")
    old = Bundle.open(searchable / "bundle")
    values = [("category", "mug"), ("category", "shoe")]
    cold = ColdTower(
        np.zeros((17, 1), dtype=np.float32),
        np.array([[1.0], [-1.0]], dtype=np.float32),
        np.zeros((24, 1), dtype=np.float32),
        0.0,
    )
    return write_bundle(
        folder / "bundle",
        items=old.items,
        users=old.users,
        item_embeddings=np.asarray(old.item_embeddings),
        user_embeddings=np.asarray(old.user_embeddings),
        text_vectors=np.asarray(old.text_vectors),
        image_vectors=np.asarray(old.image_vectors),
        popularity=np.asarray(old.popularity),
        match_scores=np.asarray(old.match_scores),
        display=list(old.displays()),
        seen=(np.asarray(old.seen_indptr), np.asarray(old.seen_indices)),
        similar_idx=np.asarray(old.similar.idx),
        similar_score=np.asarray(old.similar.score),
        neighbors={},
        co_idx=np.asarray(old.co_idx),
        co_count=np.asarray(old.co_count),
        config={},
        metrics={},
        fingerprints={},
        onnx={
            **{path.name: path for path in (old.path / "onnx").iterdir()},
            "cold_item.onnx": folder / "cold.onnx",
        },
        cold=(cold, values),
    )


@dataclass
class Service:
    """The application behind a real socket."""

    app: FastAPI
    base_url: str

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.base_url, timeout=10)

    def get(self, path: str, **query: Any) -> httpx.Response:
        return httpx.get(self.base_url + path, params=query, timeout=10)

    def post(self, *events: dict[str, Any]) -> httpx.Response:
        return httpx.post(self.base_url + "/v1/events", json={"events": list(events)}, timeout=10)

    def ask(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(self.base_url + path, json=body, timeout=10)

    def say(self, method: str, item_id: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """PUT, PATCH or DELETE of an item."""
        return httpx.request(method, f"{self.base_url}/v1/items/{item_id}", json=body, timeout=10)

    def feed(self, user_id: str, k: int = 12) -> dict[str, Any]:
        answer = self.get(f"/v1/users/{user_id}/feed", k=k)
        assert answer.status_code == 200, answer.text
        parsed: dict[str, Any] = answer.json()
        return parsed

    def feed_ids(self, user_id: str, k: int = 12) -> list[str]:
        return [slot["item"]["item_id"] for slot in self.feed(user_id, k)["recommendations"]]

    def metric(self, name: str, **labels: str) -> float:
        """A counter's value, 0 where it has not been counted."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        found = [
            float(line.rsplit(" ", 1)[1])
            for line in self.get("/metrics").text.splitlines()
            if line.split("{")[0].split(" ")[0] == name and all(part in line for part in wanted)
        ]
        return sum(found)


def listen(app: Any, stack: ExitStack) -> str:
    """Serve an application until the stack ends; its address."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="error", access_log=False, ws="none", server_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()

    stack.callback(stop)
    wait_for(lambda: server.started or not thread.is_alive())
    assert server.started, "the service did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def start_asgi() -> Iterator[Callable[[Any], str]]:
    """Serves applications of any kind until the test ends."""
    with ExitStack() as stack:
        yield lambda app: listen(app, stack)


@contextmanager
def starter() -> Iterator[Callable[..., Service]]:
    """Starts services that end with the context; takes settings by name."""
    with ExitStack() as stack:
        state_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rs")))

        def start(**given: Any) -> Service:
            patient = {"redis_timeout_s": 2.0, "state_dir": state_dir}  # a busy machine is no lost Redis
            brief = {"poll_s": 0.05, "log_requests": False, "search_warm": False}  # most tests encode nothing
            settings = Settings(**{**brief, **patient, **given})
            app = create_app(settings)
            return Service(app, listen(app, stack))

        yield start


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
