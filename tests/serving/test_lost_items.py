"""Changes of items that Redis has lost, and workers that know them: in memory, and in a file."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.errors import InputError
from recsys.bundle import Bundle
from serving.app import create_app
from serving.items import files as files_module
from serving.items import shelf as shelf_module
from serving.items.keeper import ItemKeeper
from serving.items.kept import KeptItems, Remembered
from serving.items.maker import CatalogMaker
from serving.items.said import Said
from serving.items.shapes import ItemIn
from serving.items.shelf import ItemShelf
from serving.keys import Keys
from serving.live import Live
from serving.publishing import Publisher
from serving.settings import Settings, masked
from serving.store import Store
from serving.telemetry import Telemetry

MUG: dict[str, Any] = {
    "title": "Crimson cup",
    "price": 3.5,
    "attributes": {"color": ["Red"], "category": ["mug > tall"]},
}


def test_changes_that_redis_has_lost_are_put_back_by_the_workers_and_what_was_said_since_lies_over_them(
    mortal_redis: Any, start_service: Any, growing: Path, eventually: Any
) -> None:
    one, other = (start_service(bundle=growing, redis_url=mortal_redis.url) for _ in range(2))
    eventually(lambda: all(worker.get("/ready").json()["redis"] == "up" for worker in (one, other)))
    one.say("PUT", "n0", MUG)
    one.say("PATCH", "i1", {"available": False, "price": 0.5})
    other.say("PATCH", "i3", {"price": 0.7})
    other.say("DELETE", "i2")
    keys = Keys()
    names = [keys.item_now(item_id) for item_id in ("n0", "i1", "i2")]
    for worker in (one, other):
        eventually(lambda worker=worker: worker.get("/v1/items/i2").status_code == 404)
    with mortal_redis.client() as client:
        before = [client.hgetall(name) for name in names]
        pipeline = client.pipeline(transaction=True)  # somebody says something before a worker has noticed
        pipeline.flushall()
        pipeline.hset(keys.item_now("i3"), mapping={"available": "false"})
        pipeline.sadd(keys.items, "i3")
        pipeline.xadd(keys.item_changes, {"item_id": "i3"})
        pipeline.execute()
        eventually(lambda: client.smembers(keys.items) == {b"n0", b"i1", b"i2", b"i3"})
        assert [client.hgetall(name) for name in names] == before
        eventually(lambda: client.hgetall(keys.item_now("i3")) == {b"available": b"false", b"price": b"0.7"})
    assert one.metric("recsys_items_restored_total") + other.metric("recsys_items_restored_total") == 4

    def settled(worker: Any) -> bool:
        of = {item_id: worker.get(f"/v1/items/{item_id}") for item_id in ("n0", "i1", "i2", "i3")}
        sold_out = [of[item_id].json()["available"] for item_id in ("i1", "i3")] == [False, False]
        said = (of["n0"].json().get("title"), of["i1"].json()["price"], of["i3"].json()["price"])
        return sold_out and said == ("Crimson cup", 0.5, 0.7) and of["i2"].status_code == 404

    for worker in (one, other, start_service(bundle=growing, redis_url=mortal_redis.url)):
        eventually(lambda worker=worker: settled(worker))


def test_what_was_said_by_the_models_themselves_is_not_put_back(  # noqa: PLR0917 - fixtures
    mortal_redis: Any, start_service: Any, growing: Path, searchable: Path, eventually: Any, tmp_path: Path
) -> None:
    with mortal_redis.client() as client:
        publisher = Publisher(client, state_dir=tmp_path / "publisher")
        publisher.publish(Bundle.open(growing))
        worker = start_service(bundle=growing, redis_url=mortal_redis.url, restore=True)
        worker.say("PATCH", "i3", {"price": Bundle.open(growing).display(3)["price"]})
        worker.say("PATCH", "i4", {"price": 0.5})
        publisher.publish(Bundle.open(searchable / "bundle"))
        assert client.smembers(Keys().items) == {b"i4"}
        time.sleep(0.5)  # the worker looks every 0.2 s
        mortal_redis.forget_everything()
        eventually(lambda: client.smembers(Keys().items) == {b"i4"})
        time.sleep(0.5)
        assert client.smembers(Keys().items) == {b"i4"}
    assert worker.get("/v1/items/i4").json()["price"] == 0.5


def test_what_several_workers_put_back_is_told_once(redis_server: Any, run_apart: Any) -> None:
    known = {f"i{number}": Said(fields={"price": number + 0.5}) for number in range(3)}

    async def story() -> tuple[list[int], list[int]]:
        store = Store(redis_server.url, Settings(redis_timeout_s=5.0), Telemetry())
        store.mark_up()
        shelf = ItemShelf(store)
        await shelf.write(known, {})
        _, change = await shelf.every()
        with redis_server.client() as client:
            client.flushall()
            n_back, n_told = [], []
            for _ in range(3):
                n_back.append(await shelf.put_back(known, change, alone=False))
                n_told.append(client.xlen(Keys().item_changes))
        await store.close()
        return n_back, n_told

    assert run_apart(story()) == ([3, 0, 0], [3, 3, 3])


def test_changes_that_a_worker_missed_for_their_number_are_not_taken_for_lost(
    redis_server: Any, run_apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf_module, "CHANGES_CAP", 200)
    said = {name: Said(fields={"price": 1.5}) for name in ("dropped", "kept")}

    async def story() -> list[bool]:
        store = Store(redis_server.url, Settings(redis_timeout_s=5.0), Telemetry())
        store.mark_up()
        shelf = ItemShelf(store)
        keeper = ItemKeeper(shelf, CatalogMaker(shelf, None, Telemetry(), lambda _: None), Telemetry(), every_s=0.01)
        await shelf.write(said, {})
        await keeper.load()
        outrun = []
        with redis_server.client() as client:

            def change(item_id: str, times: int) -> None:
                pipeline = client.pipeline()
                for _ in range(times):
                    pipeline.xadd(Keys().item_changes, {"item_id": item_id}, maxlen=200, approximate=True)
                pipeline.execute()

            client.delete(Keys().item_now("dropped"))  # as a publish does, once the models say the same
            client.srem(Keys().items, "dropped")
            change("dropped", 1)
            change("kept", 1000)
            outrun.append(await keeper._stands(str(keeper._after)))
            await keeper.look()
            found = client.smembers(Keys().items), set(keeper._known)
            change("kept", 1)
            behind = str(keeper._after)
            client.delete(Keys().item_changes)
            outrun.append(await keeper._stands(behind))  # nothing is there
            change("kept", 5)
            outrun.append(await keeper._stands(behind))  # too few are there
            client.delete(Keys().item_changes)
            client.xadd(Keys().item_changes, {"item_id": "kept"}, id="1-1")
            change("kept", 200)
            outrun.append(await keeper._stands(behind))  # older ones are there
        await store.close()
        assert found == ({b"kept"}, {"kept"})
        return outrun

    assert run_apart(story()) == [True, False, False, False]


def test_what_redis_has_lost_is_there_again_before_a_part_of_it_is_changed(
    mortal_redis: Any, run_apart: Any, growing: Path, tmp_path: Path
) -> None:
    async def story() -> dict[bytes, bytes]:
        given = {"bundle": growing, "redis_url": mortal_redis.url, "state_dir": tmp_path, "search_warm": False}
        app = create_app(Settings(**given, poll_s=0.05, redis_timeout_s=5.0))
        async with app.router.lifespan_context(app):
            desk = app.state.desk
            await desk.write("n0", ItemIn(**MUG), whole=True)
            while not (tmp_path / "items.jsonl").exists():  # the worker has seen its own change go by
                await asyncio.sleep(0.05)
            with mortal_redis.client() as client:
                client.flushall()
                await desk.write("n0", ItemIn(price=9.0), whole=False)  # sooner than the worker looks by itself
                found: dict[bytes, bytes] = client.hgetall(Keys().item_now("n0"))
        return found

    found = run_apart(story())
    assert (found[b"price"], found[b"title"], found[b"whole"]) == (b"9.0", b'"Crimson cup"', b"1")


@pytest.fixture
def last_known(mortal_redis: Any, run_apart: Any, growing: Path, tmp_path: Path) -> Path:
    """The state folder of a worker that knew some changes, and has ended."""

    async def live() -> None:
        given = {
            "bundle": growing,
            "redis_url": mortal_redis.url,
            "state_dir": tmp_path / "known",
            "search_warm": False,
        }
        app = create_app(Settings(**given, poll_s=0.05, redis_timeout_s=2.0))
        async with app.router.lifespan_context(app):
            desk = app.state.desk
            await desk.write("n0", ItemIn(**MUG), whole=True)
            await desk.write("i1", ItemIn(available=False), whole=False)
            await desk.delete("i2")
            while not (tmp_path / "known" / "items.jsonl").exists():
                await asyncio.sleep(0.05)

    run_apart(live())
    return tmp_path / "known"


def knows(worker: Any, *, price: float = 3.5) -> bool:
    """Whether a worker goes by the changes of `last_known`."""
    of = {item_id: worker.get(f"/v1/items/{item_id}") for item_id in ("n0", "i1", "i2")}
    return (of["n0"].json().get("price"), of["i1"].json()["available"], of["i2"].status_code) == (price, False, 404)


def test_a_worker_that_starts_while_redis_is_down_goes_by_the_last_known_changes_and_an_emptied_redis_gets_them_back(
    last_known: Path, mortal_redis: Any, start_service: Any, growing: Path, eventually: Any
) -> None:
    with mortal_redis.client() as client:
        before = {name: client.hgetall(name) for name in map(Keys().item_now, ("n0", "i1", "i2"))}
    mortal_redis.forget_everything()
    mortal_redis.kill()
    worker = start_service(bundle=growing, redis_url=mortal_redis.url, state_dir=last_known)
    assert worker.get("/ready").json()["redis"] == "down"
    assert knows(worker)
    mortal_redis.start()
    with mortal_redis.client() as client:
        eventually(lambda: client.smembers(Keys().items) == {b"n0", b"i1", b"i2"})
        assert {name: client.hgetall(name) for name in before} == before
    assert worker.metric("recsys_items_restored_total") == 3
    assert knows(worker)


def test_a_worker_whose_redis_goes_away_while_it_starts_goes_by_the_last_known_changes(
    last_known: Path, mortal_redis: Any, growing: Path, run_apart: Any
) -> None:
    async def story() -> Bundle | None:
        telemetry = Telemetry()
        store = Store(mortal_redis.url, Settings(redis_timeout_s=2.0), telemetry)
        store.mark_up()
        mortal_redis.kill()
        shelf = ItemShelf(store)
        kept = KeptItems(last_known / "items.jsonl", masked(mortal_redis.url))
        keeper = ItemKeeper(shelf, CatalogMaker(shelf, None, telemetry, lambda _: None), telemetry, kept=kept)
        await keeper.move(Live.open(growing), hurry=True)
        await keeper.start()
        await store.close()
        return keeper.live.bundle if keeper.live is not None else None

    bundle = run_apart(story())
    assert bundle.display(bundle.items.idx("n0"))["price"] == 3.5
    assert "i2" not in bundle.items


def test_a_worker_that_starts_on_an_emptied_redis_puts_the_last_known_changes_back(
    last_known: Path, mortal_redis: Any, start_service: Any, growing: Path, eventually: Any
) -> None:
    mortal_redis.forget_everything()
    worker = start_service(bundle=growing, redis_url=mortal_redis.url, state_dir=last_known)
    eventually(lambda: knows(worker))  # by the file alone, where the start was too slow for Redis
    eventually(lambda: worker.metric("recsys_items_restored_total") == 3)


def test_a_file_of_changes_that_redis_has_gone_beyond_is_left_aside(  # noqa: PLR0917 - fixtures
    last_known: Path, mortal_redis: Any, start_service: Any, growing: Path, tmp_path: Path, eventually: Any
) -> None:
    current = start_service(bundle=growing, redis_url=mortal_redis.url, state_dir=tmp_path / "current")
    eventually(lambda: knows(current))
    mortal_redis.forget_everything()  # `current` puts back what it knows, and goes on
    with mortal_redis.client() as client:
        eventually(lambda: client.smembers(Keys().items) == {b"n0", b"i1", b"i2"})
        current.say("PATCH", "n0", {"price": 9.0})
        client.srem(Keys().items, "i1")  # as when a bundle says the same by itself
        client.delete(Keys().item_now("i1"))
        returned = start_service(bundle=growing, redis_url=mortal_redis.url, state_dir=last_known)
        eventually(lambda: returned.get("/v1/items/n0").json().get("price") == 9.0)
        time.sleep(0.5)
        assert client.smembers(Keys().items) == {b"n0", b"i2"}
    assert returned.get("/v1/items/i1").json()["available"] is True
    assert returned.metric("recsys_items_restored_total") == 0


def test_what_was_said_since_the_file_was_written_last_is_in_it_when_the_worker_ends(
    redis_server: Any, growing: Path, tmp_path: Path, run_apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "LEAST_PAUSE_S", 60.0)
    kept = KeptItems(tmp_path / "items", "here")

    async def story() -> None:
        settings, telemetry = Settings(redis_url=redis_server.url), Telemetry()
        store = Store(redis_server.url, settings, telemetry)
        store.mark_up()
        shelf = ItemShelf(store)
        keeper = ItemKeeper(
            shelf, CatalogMaker(shelf, None, telemetry, lambda _: None), telemetry, kept=kept, every_s=0.01
        )
        await keeper.move(Live.open(growing), hurry=True)
        closing = asyncio.Event()
        running = asyncio.create_task(keeper.run(closing))
        async with asyncio.timeout(20):
            for price in (0.25, 0.5):
                await shelf.write({"i0": Said(fields={"price": price})}, {})
                while price == 0.25 and not kept.path.exists():
                    await asyncio.sleep(0.01)
            while keeper._known["i0"].fields["price"] != 0.5:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        written = kept.read()
        assert written is not None
        assert written.items["i0"].fields == {"price": 0.25}
        closing.set()
        await running
        await store.close()

    run_apart(story())
    remembered = kept.read()
    assert remembered is not None
    assert remembered.items["i0"].fields == {"price": 0.5}


def test_workers_of_two_pods_that_write_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    kept, said = KeptItems(tmp_path / "items.jsonl", "redis://one"), {"i1": Said(deleted=True)}

    class Meanwhile(dict[str, Said]):
        """While these are written, a process of the same number writes in another pod."""

        def items(self) -> Any:
            kept.write(Remembered(said, "7-0"))
            return super().items()

    kept.write(Remembered(Meanwhile(said, i2=Said(deleted=True)), "8-0"))
    found = kept.read()
    assert found is not None
    assert (found.change, set(found.items)) == ("8-0", {"i1", "i2"})
    assert [path.name for path in tmp_path.iterdir()] == ["items.jsonl"]


def test_a_file_of_changes_is_read_whole_or_refused(tmp_path: Path) -> None:
    vector = np.array([0.25, -1.5], dtype=np.float32)
    said = {
        "i1": Said(fields={"price": 0.5}, vectors={"text": vector}, made_of={"text": "e:1"}),
        "ü": Said(deleted=True),
    }
    kept = KeptItems(tmp_path / "items.jsonl", "redis://one")
    assert kept.read() is None
    kept.write(Remembered(said, "12-3"))
    found = kept.read()
    assert found is not None
    assert found.change == "12-3"
    assert {one: of.packed() for one, of in found.items.items()} == {one: of.packed() for one, of in said.items()}
    assert KeptItems(kept.path, "redis://other").read() is None
    lines = kept.path.read_bytes().splitlines(keepends=True)
    for broken in (lines[:-1], [*lines[:-1], lines[-1][:9]], [b"{}\n"], [b""]):
        kept.path.write_bytes(b"".join(broken))
        with pytest.raises(InputError, match="must hold changed items as they were written"):
            kept.read()
