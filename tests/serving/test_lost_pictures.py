"""Uploaded pictures that Redis has lost, or that are asked for while it is away."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from serving.items.kept_pictures import UNUSED_S, KeptPictures, names_of
from serving.items.said import Said, uploaded_name
from serving.keys import Keys

KEYS = Keys()


def drawn(color: str) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), color).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def kept(folder: Path) -> set[str]:
    return {path.name for path in (folder / "pictures").glob("*.jpg")}


def test_pictures_that_redis_has_lost_are_put_back_and_none_over_what_was_sent_since(
    mortal_redis: Any, start_service: Any, growing: Path, tmp_path: Path, eventually: Any
) -> None:
    one, other = (
        start_service(bundle=growing, redis_url=mortal_redis.url, state_dir=tmp_path / name) for name in ("one", "two")
    )
    eventually(lambda: all(worker.get("/ready").json()["redis"] == "up" for worker in (one, other)))
    one.say("PUT", "n0", {"title": "Red mug", "picture": drawn("red")})
    one.say("PUT", "n1", {"title": "Blue mug", "picture": drawn("blue")})
    one.say("PUT", "n2", {"title": "Grey mug", "picture": drawn("grey")})
    red, *others = (one.get(f"/v1/images/{item_id}").content for item_id in ("n0", "n1", "n2"))
    files = {f"{uploaded_name(data).partition(':')[2]}.jpg" for data in (red, *others)}
    eventually(
        lambda: kept(tmp_path / "one") == kept(tmp_path / "two") == files
    )  # each worker has them, whoever was told
    with mortal_redis.client() as client:
        pipeline = client.pipeline(transaction=True)  # somebody sends another picture before a worker has noticed
        pipeline.flushall()
        pipeline.hset(KEYS.item_now("n1"), mapping={"whole": "1", "image": '"uploaded:0123456789abcdef01234567"'})
        pipeline.set(KEYS.item_picture("n1"), b"green")
        pipeline.hset(KEYS.item_now("n2"), mapping={"whole": "1", "title": '"Mug"'})  # it has no picture any more
        for item_id in ("n1", "n2"):
            pipeline.sadd(KEYS.items, item_id)
            pipeline.xadd(KEYS.item_changes, {"item_id": item_id})
        pipeline.execute()
        eventually(lambda: client.get(KEYS.item_picture("n0")) == red)
        eventually(
            lambda: one.metric("recsys_pictures_restored_total") + other.metric("recsys_pictures_restored_total")
        )
        time.sleep(0.5)
        assert client.get(KEYS.item_picture("n1")) == b"green"
        assert not client.exists(KEYS.item_picture("n2"))
    assert one.metric("recsys_pictures_restored_total") + other.metric("recsys_pictures_restored_total") == 1
    third = start_service(bundle=growing, redis_url=mortal_redis.url, state_dir=tmp_path / "three")
    eventually(lambda: third.get("/v1/images/n0").content == red)


def test_a_picture_is_sent_while_redis_is_down_also_by_a_worker_that_starts_then(
    mortal_redis: Any, start_service: Any, growing: Path, tmp_path: Path, eventually: Any
) -> None:
    worker = start_service(bundle=growing, redis_url=mortal_redis.url, state_dir=tmp_path / "one")
    eventually(lambda: worker.get("/ready").json()["redis"] == "up")
    worker.say("PATCH", "i1", {"picture": drawn("red")})
    red = worker.get("/v1/images/i1").content
    eventually(lambda: kept(tmp_path / "one") and (tmp_path / "one" / "items.jsonl").exists())
    mortal_redis.kill()
    late = start_service(bundle=growing, redis_url=mortal_redis.url, state_dir=tmp_path / "one")
    for asked in (worker, late):
        answer = asked.get("/v1/images/i1")
        assert (answer.status_code, answer.content) == (200, red)


def test_pictures_are_kept_while_there_is_room_and_what_no_item_has_goes_after_a_while(tmp_path: Path) -> None:
    pictures = {item_id: item_id.encode() * 50 for item_id in ("a", "b", "c")}
    known = {item_id: Said(fields={"image": uploaded_name(data)}) for item_id, data in pictures.items()}
    folder = KeptPictures(tmp_path / "pictures", most_bytes=120)
    asked: list[str] = []

    async def ask(item_id: str) -> bytes:
        asked.append(item_id)
        return pictures[item_id]

    def follow(*item_ids: str) -> None:
        asyncio.run(folder.follow({item_id: known[item_id] for item_id in item_ids}, ask))

    def here() -> list[str]:
        return [item_id for item_id, data in pictures.items() if folder.read(uploaded_name(data)) == data]

    follow("a", "b", "c")
    assert here() == ["a", "b"]
    follow("a", "b")
    assert asked == ["a", "b", "c"]  # what is here is not fetched again
    follow("b", "c")  # "a" may be an item of which another worker knows
    assert here() == ["a", "b", "c"]
    long_ago = time.time() - UNUSED_S - 1
    for path in (tmp_path / "pictures").iterdir():
        os.utime(path, (long_ago, long_ago))
    follow("b", "c")
    assert here() == ["b", "c"]


def test_a_picture_that_another_worker_drops_meanwhile_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, data = tmp_path / "pictures", b"new"
    path.mkdir()
    for name in ("0" * 24, "1" * 24, "2" * 24):
        (path / f"{name}.jpg").write_bytes(b"old")
        os.utime(path / f"{name}.jpg", (0, 0))
    stat, looked = Path.stat, list[Path]()

    def late(file: Path, **given: Any) -> os.stat_result:
        if file.suffix == ".jpg":
            looked.append(file)
            if len(looked) in {1, 5}:  # as it is listed, and as it is about to be dropped
                file.unlink(missing_ok=True)
        return stat(file, **given)

    monkeypatch.setattr(Path, "stat", late)

    async def ask(_: str) -> bytes:
        return data

    known = {"a": Said(fields={"image": uploaded_name(data)})}
    asyncio.run(KeptPictures(path, most_bytes=120).follow(known, ask))
    monkeypatch.undo()
    assert [file.read_bytes() for file in path.iterdir()] == [data]


@pytest.mark.parametrize("name", ["uploaded:../../secret", "uploaded:", "../secret", "", "uploaded:" + "0" * 23 + "/"])
def test_only_what_can_be_the_hash_of_a_picture_is_looked_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    assert KeptPictures(tmp_path / "pictures", most_bytes=100).read(name) is None
    assert names_of({"a": Said(fields={"image": name})}) == {}


def test_a_file_that_is_not_what_its_name_says_is_not_used(tmp_path: Path) -> None:
    folder = KeptPictures(tmp_path, most_bytes=100)
    name = uploaded_name(b"picture")
    (tmp_path / f"{name.partition(':')[2]}.jpg").write_bytes(b"pict")
    assert folder.read(name) is None
