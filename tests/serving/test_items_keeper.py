"""A worker's catalog while it moves to another bundle."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss  # noqa: F401 - its threads are looked at
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from recsys.bundle import Bundle
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender
from recsys.traces import Traces
from serving import again
from serving.items.files import ItemFiles
from serving.items.keeper import ItemKeeper
from serving.items.kept import KeptItems
from serving.items.kept_pictures import KeptPictures
from serving.items.maker import CatalogMaker
from serving.items.said import Said, uploaded_name
from serving.items.shelf import ItemShelf
from serving.keys import Keys
from serving.live import Live
from serving.settings import Settings
from serving.store import Store
from serving.telemetry import Telemetry


def test_a_change_takes_effect_while_another_bundle_is_made_ready_and_holds_there_too(
    small_bundle: Path, run_apart: Callable[..., Any]
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    first, second = Live.open(small_bundle), Live.open(small_bundle)

    def prepare(bundle: Bundle) -> None:
        if bundle is second.bundle:
            begun.set()
            assert go_on.wait(30)

    def price(keeper: ItemKeeper) -> float:
        assert keeper.live is not None
        bundle = keeper.live.bundle
        said: float = bundle.display(bundle.items.idx("i0"))["price"]
        return said

    async def story() -> None:
        settings, telemetry = Settings(), Telemetry()
        shelf = ItemShelf(Store(None, settings, telemetry))
        keeper = ItemKeeper(shelf, CatalogMaker(shelf, None, telemetry, prepare), telemetry)
        await keeper.move(first, hurry=True)
        moving = asyncio.create_task(keeper.move(second))
        try:
            assert await asyncio.to_thread(begun.wait, 30)
            await asyncio.wait_for(keeper.take({"i0": Said(fields={"price": 0.25})}), 20)
            assert price(keeper) == 0.25
            assert keeper.trained is first.bundle
        finally:
            go_on.set()
        await moving
        assert price(keeper) == 0.25
        assert keeper.trained is second.bundle

    run_apart(story())


def test_what_the_disk_refused_is_written_when_it_does_not_any_more(
    tmp_path: Path, run_apart: Callable[..., Any]
) -> None:
    in_the_way = tmp_path / "state"
    in_the_way.write_text("no folder")
    kept = KeptItems(in_the_way / "items", "redis://here")

    async def story() -> None:
        settings, telemetry = Settings(), Telemetry()
        shelf = ItemShelf(Store(None, settings, telemetry))
        files = ItemFiles(kept, shelf, telemetry)
        known = {"i0": Said(fields={"price": 0.25})}
        await files.write(known, "7-0")
        in_the_way.unlink()
        await files.close(known, "7-0")  # whatever the pause

    run_apart(story())
    remembered = kept.read()
    assert remembered is not None
    assert (remembered.change, remembered.items["i0"].fields) == ("7-0", {"price": 0.25})


class _Slow(KeptPictures):
    """Pictures that take as long to read as the test wants."""

    go_on = threading.Event()

    def read(self, name: str) -> bytes | None:
        assert self.go_on.wait(30)
        return super().read(name)


def test_the_file_is_written_while_pictures_that_redis_has_lost_are_put_back(
    redis_server: Any, tmp_path: Path, run_apart: Callable[..., Any]
) -> None:
    kept, pictures = KeptItems(tmp_path / "items", "redis://here"), _Slow(tmp_path / "pictures", most_bytes=1_000)
    data = b"a picture"
    item = Said(whole=True, fields={"title": "Mug", "image": uploaded_name(data)})

    async def story() -> None:
        settings, telemetry, closing = Settings(redis_timeout_s=5.0), Telemetry(), asyncio.Event()
        store = Store(redis_server.url, settings, telemetry)
        store.mark_up()
        shelf = ItemShelf(store, pictures=pictures)
        keeper = ItemKeeper(shelf, CatalogMaker(shelf, None, telemetry, lambda _: None), telemetry, kept=kept)
        await shelf.write({"i0": item}, {"i0": data})
        await shelf.keep_pictures({"i0": item})
        await keeper.load()
        redis_server.forget_everything()
        running = asyncio.create_task(keeper.run(closing))
        try:
            async with asyncio.timeout(20):
                while (said := await asyncio.to_thread(kept.read)) is None or "i0" not in said.items:
                    await asyncio.sleep(0.05)  # put back, and written
                await shelf.write({"i1": Said(whole=True, fields={"title": "Jug"})}, {})
                while (said := await asyncio.to_thread(kept.read)) is None or "i1" not in said.items:
                    await asyncio.sleep(0.05)
        finally:
            assert not pictures.go_on.is_set()
            pictures.go_on.set()
            closing.set()
            await running
            await store.close()

    run_apart(story())
    with redis_server.client() as client:
        assert client.get(Keys().item_picture("i0")) == data


def test_what_a_request_computes_is_not_shared_among_threads_whenever_faiss_came(
    small_bundle: Path, run_apart: Callable[..., Any]
) -> None:
    async def story() -> list[list[int]]:
        telemetry = Telemetry()
        shelf = ItemShelf(Store(None, Settings(), telemetry))
        keeper = ItemKeeper(shelf, CatalogMaker(shelf, None, telemetry, lambda _: None), telemetry)
        threadpool_limits(2)
        found = [[pool["num_threads"] for pool in threadpool_info()]]
        await keeper.move(Live.open(small_bundle), hurry=True)
        return [*found, [pool["num_threads"] for pool in threadpool_info()]]

    before, after = run_apart(story())
    assert max(before) == 2
    assert set(after) == {1}


def test_catalogs_that_go_out_of_use_while_one_gives_back_give_back_too(
    small_bundle: Path, run_apart: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[BundleRecommender] = []
    begun, go_on = threading.Event(), threading.Event()

    def let_go(recommender: BundleRecommender) -> None:
        begun.set()
        assert go_on.wait(30)
        gone.append(recommender)

    monkeypatch.setattr(BundleRecommender, "let_go", let_go)

    async def story() -> None:
        settings, telemetry = Settings(), Telemetry()
        shelf = ItemShelf(Store(None, settings, telemetry))
        keeper = ItemKeeper(shelf, CatalogMaker(shelf, None, telemetry, lambda _: None), telemetry, every_s=0.01)
        left: list[Live | None] = []
        await keeper.move(Live.open(small_bundle), hurry=True)
        closing = asyncio.Event()
        running = asyncio.create_task(keeper.run(closing))
        try:
            for price in (0.25, 0.5, 0.75):
                left.append(keeper.live)
                await keeper.take({"i0": Said(fields={"price": price})})
                assert await asyncio.to_thread(begun.wait, 30)
        finally:
            go_on.set()
            closing.set()
        await running
        assert gone == [live.recommender for live in left if live is not None]

    run_apart(story())


def test_work_beside_the_looks_that_fails_is_counted_and_done_anew_and_one_that_cannot_give_back_holds_up_none(
    small_bundle: Path, tmp_path: Path, run_apart: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry, kept, gone = Telemetry(), KeptItems(tmp_path / "items", "redis://here"), list[BundleRecommender]()
    write, tried = KeptItems.write, list[int]()

    def let_go(recommender: BundleRecommender) -> None:
        gone.append(recommender)
        if len(gone) == 1:
            raise ValueError("as nobody foresaw")

    def writes_second(self: KeptItems, remembered: Any) -> None:
        tried.append(len(tried))
        if len(tried) == 1:
            raise ValueError("as nobody foresaw")
        write(self, remembered)

    monkeypatch.setattr(again, "PAUSE_S", 0.001)
    monkeypatch.setattr(BundleRecommender, "let_go", let_go)
    monkeypatch.setattr(KeptItems, "write", writes_second)

    async def story() -> None:
        shelf = ItemShelf(Store(None, Settings(), telemetry))
        maker = CatalogMaker(shelf, None, telemetry, lambda _: None)
        keeper = ItemKeeper(shelf, maker, telemetry, kept=kept, every_s=0.01)
        await keeper.move(Live.open(small_bundle), hurry=True)
        keeper._after = "7-0"
        left = []
        for price in (0.25, 0.5):
            assert keeper.live is not None
            left.append(keeper.live.recommender)
            await keeper.take({"i0": Said(fields={"price": price})})
        closing = asyncio.Event()
        running = asyncio.create_task(keeper.run(closing))
        async with asyncio.timeout(20):
            while kept.read() is None or len(gone) < 2:
                await asyncio.sleep(0.01)
        closing.set()
        await running
        assert gone == left

    run_apart(story())
    assert telemetry.registry.get_sample_value("recsys_background_failures_total", {"tenant": ""}) == 2


def test_what_answers_no_more_gives_back_what_it_keeps_and_still_answers_who_began_with_it(
    small_bundle: Path, run_apart: Callable[..., Any]
) -> None:
    first, second = Live.open(small_bundle), Live.open(small_bundle)
    users = [UserState(f"u{number}", traces=Traces(np.array([number]))) for number in range(3)]

    def kept(live: Live) -> tuple[int, int]:
        recommender = live.recommender
        return len(recommender._moments._kept), len(recommender.explainer._reasons.values())

    async def story() -> None:
        settings, telemetry = Settings(), Telemetry()
        shelf = ItemShelf(Store(None, settings, telemetry))
        keeper = ItemKeeper(shelf, CatalogMaker(shelf, None, telemetry, lambda _: None), telemetry, every_s=0.01)
        await keeper.move(first, hurry=True)
        answers = [first.recommender.recommend(user, 4) for user in users]
        assert min(kept(first)) >= 3
        closing = asyncio.Event()
        running = asyncio.create_task(keeper.run(closing))
        await keeper.move(second)
        async with asyncio.timeout(20):
            while kept(first) != (0, 0):
                await asyncio.sleep(0.01)
        assert [first.recommender.recommend(user, 4) for user in users] == answers
        second.recommender.recommend(users[0], 4)
        await keeper.take({"i0": Said(fields={"price": 0.25})})
        async with asyncio.timeout(20):
            while kept(second) != (0, 0):
                await asyncio.sleep(0.01)
        closing.set()
        await running

    run_apart(story())
