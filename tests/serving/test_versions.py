"""Workers follow the published version without missing a request."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from pathlib import Path
from typing import Any

from recsys.bundle import Bundle
from serving.codec import unpack
from serving.keys import Keys


def test_switching_versions_under_load_fails_no_request(
    service: Any, publisher: Any, small_bundle: Path, changed_bundle: Path, eventually: Any
) -> None:
    old, new = Bundle.open(small_bundle).version, Bundle.open(changed_bundle).version
    statuses: set[int] = set()
    versions: dict[str, int] = {}
    ending = threading.Event()
    counting = threading.Lock()

    def shop(number: int) -> None:
        with service.client() as client:
            while not ending.is_set():
                for path in (f"/v1/items/i{number}/similar", f"/v1/users/u{number}/feed"):
                    answer = client.get(path)
                    with counting:
                        statuses.add(answer.status_code)
                        version = answer.json().get("model_version", "none")
                        versions[version] = versions.get(version, 0) + 1

    shoppers = [threading.Thread(target=shop, args=(number,)) for number in range(4)]
    for shopper in shoppers:
        shopper.start()
    try:
        eventually(lambda: versions.get(old, 0) > 50)
        publisher.publish(Bundle.open(changed_bundle))
        eventually(lambda: versions.get(new, 0) > 50)
        publisher.rollback()
        back = versions.get(old, 0)
        eventually(lambda: versions.get(old, 0) > back + 50)
    finally:
        ending.set()
        for shopper in shoppers:
            shopper.join()
    assert statuses == {200}
    assert set(versions) == {old, new}
    assert service.metric("recsys_version_switches_total") == 3  # to the first at start, to the second, and back


def test_another_version_gives_other_answers(
    service: Any, publisher: Any, changed_bundle: Path, eventually: Any
) -> None:
    before = service.feed("u1")
    publisher.publish(Bundle.open(changed_bundle))
    eventually(lambda: service.feed("u1")["model_version"] != before["model_version"])
    after = service.feed("u1")
    assert after["store"] == "redis"
    assert all("shoe" in slot["item"]["title"] for slot in before["recommendations"])
    assert all("mug" in slot["item"]["title"] for slot in after["recommendations"])  # the embeddings are turned around


def test_lists_that_were_asked_for_are_kept_of_the_next_version_before_it_answers(
    service: Any, publisher: Any, changed_bundle: Path, eventually: Any
) -> None:
    paths = [f"/v1/items/i{row}/similar" for row in range(12)]
    before = {path: service.get(path, k=5).json() for path in paths}

    def counted() -> tuple[float, ...]:
        kept = [service.metric("recsys_cache_total", cache="answers", outcome=outcome) for outcome in ("hit", "miss")]
        return (*kept, service.metric("recsys_answers_total", surface="similar"))

    hits, misses, answers = counted()
    new = publisher.publish(Bundle.open(changed_bundle)).version
    eventually(lambda: service.feed("u1")["model_version"] == new)
    assert counted() == (hits, misses, answers)  # what is made ahead was shown to nobody
    after = {path: service.get(path, k=5).json() for path in paths}
    assert counted() == (hits + 12, misses, answers + 12)
    ids = [
        {path: [slot["item"]["item_id"] for slot in of[path]["recommendations"]] for path in paths}
        for of in (before, after)
    ]
    with publisher._client as client:
        assert all(one["model_version"] == new and one["store"] == "redis" for one in after.values())
        for path in paths:
            stored = unpack(client.get(Keys().similar(new, path.split("/")[3])), 5)
            assert ids[1][path] == [Bundle.open(changed_bundle).items[slot.item_idx] for slot in stored]
    assert len({one["recommendation_id"] for one in (*before.values(), *after.values())}) == 24


def test_what_is_said_of_an_item_while_a_version_is_made_ready_holds_before_and_after_the_switch(
    service: Any, publisher: Any, changed_bundle: Path, eventually: Any
) -> None:
    old = service.feed("u1")["model_version"]
    waiting, going_on = threading.Event(), threading.Event()

    async def slow(_: Any) -> None:
        waiting.set()
        while not going_on.is_set():
            await asyncio.sleep(0.01)

    service.app.state.watcher.ahead = slow
    new = publisher.publish(Bundle.open(changed_bundle)).version
    assert waiting.wait(10)
    assert service.say("PATCH", "i3", {"price": 77.0}).status_code == 200
    assert service.get("/v1/items/i3").json()["price"] == 77.0  # by the version that still answers
    assert service.feed("u1")["model_version"] == old
    going_on.set()
    eventually(lambda: service.feed("u1")["model_version"] == new)
    assert service.get("/v1/items/i3").json()["price"] == 77.0


def test_a_version_that_is_left_goes_by_its_last_reference(
    service: Any, publisher: Any, changed_bundle: Path, eventually: Any
) -> None:
    before = service.get("/v1/items/i3/similar").json()["model_version"]
    service.feed("u1")
    parts = [weakref.ref(service.app.state.watcher.live), weakref.ref(service.app.state.watcher.live.bundle)]
    gc.disable()  # as a worker does, to whom a search for cycles would be too long
    try:
        new = publisher.publish(Bundle.open(changed_bundle)).version
        eventually(lambda: service.feed("u1")["model_version"] == new != before)
        for row in range(60):
            service.get(f"/v1/items/i{row}/similar")
        eventually(lambda: [part() for part in parts] == [None, None])
    finally:
        gc.enable()


def test_a_version_that_cannot_be_made_ready_answers_all_the_same(
    service: Any, publisher: Any, changed_bundle: Path, eventually: Any
) -> None:
    async def failing(_: Any) -> None:
        raise OSError("no")

    service.app.state.watcher.ahead = failing
    new = publisher.publish(Bundle.open(changed_bundle)).version
    eventually(lambda: service.feed("u1")["model_version"] == new)


def test_a_redis_that_comes_back_is_found_while_another_version_is_made_ready(
    service: Any, publisher: Any, changed_bundle: Path, eventually: Any
) -> None:
    begun, go_on, watcher, store = (
        threading.Event(),
        threading.Event(),
        service.app.state.watcher,
        service.app.state.store,
    )
    before = service.feed("u1")["model_version"]

    async def slow(_: Any) -> None:
        begun.set()
        while not go_on.is_set():
            await asyncio.sleep(0.01)

    watcher.ahead = slow
    try:
        new = publisher.publish(Bundle.open(changed_bundle)).version
        assert begun.wait(20)
        store.mark_down("as if it were gone")
        eventually(lambda: store.up)
        assert service.feed("u1")["model_version"] == before
    finally:
        go_on.set()
    eventually(lambda: service.feed("u1")["model_version"] == new)
    assert service.metric("recsys_version_switches_total") == 2  # with the first


def test_a_version_whose_bundle_does_not_open_is_not_followed(
    service: Any, publisher: Any, changed_bundle: Path, tmp_path: Path, eventually: Any
) -> None:
    before = service.feed("u1")["model_version"]
    version = Bundle.open(changed_bundle).version
    publisher.publish(Bundle.open(changed_bundle))
    eventually(lambda: service.get("/ready").json()["version"] == version)
    publisher.rollback()
    eventually(lambda: service.get("/ready").json()["version"] == before)
    damaged = tmp_path / "state" / "bundles" / version / "popularity.npy"
    begun = damaged.read_bytes()[:10]
    damaged.unlink()  # the bundle it was linked from is other tests' too
    damaged.write_bytes(begun)
    publisher._client.set("rs:current", version)
    eventually(lambda: service.metric("recsys_version_failures_total") == 1)
    answer = service.feed("u1")
    assert (answer["model_version"], answer["store"]) == (before, "redis")


def test_a_worker_elsewhere_uses_its_own_copy_of_the_version(
    start_service: Any, publisher: Any, redis_server: Any, small_bundle: Path
) -> None:
    publisher.publish(Bundle.open(small_bundle))
    with redis_server.client() as client:
        client.hset(f"rs:{publisher.current()}:meta", "bundle", "/not/on/this/machine")
    there = start_service(bundle=small_bundle, redis_url=redis_server.url)
    assert there.get("/ready").json()["version"] == publisher.current()
    assert there.feed("u1")["store"] == "redis"
