"""What was counted for the arms of experiments comes back to a Redis that has lost it, once, and is counted on."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import redis

from features.errors import InputError
from serving.history import returner
from serving.history.arms import FILE, ArmCounts
from serving.history.mark import Mark
from serving.keys import Keys
from serving.nearline import appeal_kept
from serving.nearline.appeal import PACKED, begin, field, named
from serving.nearline.appeal_kept import KeptAppeal
from serving.nearline.attribution import attribute
from serving.nearline.collect import collect
from serving.settings import Settings

KEYS = Keys()
ARMS = [{"name": "control"}, {"name": "other"}]
COUNTERS, ATTRIBUTED = KEYS.counters("test", "other"), KEYS.attributed("test", "other")


def results(worker: Any) -> dict[str, Any]:
    """What the service tells of each arm."""
    (told,) = worker.get("/v1/experiments/results").json()["experiments"]
    return {
        arm["name"]: {name: arm[name] for name in ("answers", "slots", "clicks", "attributed")} for arm in told["arms"]
    }


def holds(client: Any) -> None:
    """Two arms are in force."""
    document = orjson.dumps({"experiments": [{"name": "test", "arms": ARMS}]})
    client.hset(KEYS.experiments, mapping={"active": 1, "last": 1, "changed": 1, "document:1": document})


def test_counts_of_arms_come_back_once_under_what_was_counted_since(  # noqa: PLR0917 - fixtures
    mortal_redis: Any,
    start_service: Any,
    small_bundle: Path,
    tmp_path: Path,
    eventually: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(returner, "KEEP_S", 0.05)
    monkeypatch.setattr(returner, "LOOK_S", 0.05)
    worker = start_service(bundle=small_bundle, redis_url=mortal_redis.url, archive=tmp_path / "log")
    eventually(lambda: worker.get("/ready").json()["redis"] == "up")
    put = {"experiments": [{"name": "test", "arms": ARMS}]}
    assert httpx.put(worker.base_url + "/v1/experiments", json=put, timeout=10).status_code == 200
    shown, ended = Counter[str](), threading.Event()

    def look(n: int) -> None:
        for number in range(n):
            answer = worker.feed(f"v{number}", 3)
            shown[answer["arms"]["test"]] += 1
            item_id = answer["recommendations"][0]["item"]["item_id"]
            said = {"user_id": f"v{number}", "item_id": item_id, "event_type": "click"}
            worker.post({**said, "recommendation_id": answer["recommendation_id"]})

    def told(name: str) -> dict[str, int]:
        return {arm: of[name] for arm, of in results(worker).items()}

    with mortal_redis.client() as client:
        named = {"stop": ended, "wait_s": 0.02}
        near = [
            threading.Thread(
                target=collect,
                args=(client, tmp_path / "log"),
                kwargs={**named, "worker": name, "returns": Settings(redis_url=mortal_redis.url)},
            )
            for name in ("a", "b")
        ]
        near.append(
            threading.Thread(
                target=attribute, args=(client,), kwargs={**named, "worker": "c", "abandoned_after_s": 1.0}
            )
        )
        for one in near:
            one.start()
        try:
            look(12)
            eventually(lambda: told("answers") == dict(shown) and told("clicks") == dict(shown))
            eventually(lambda: sum(arm["attributed"]["clicks"] for arm in results(worker).values()) == 12)
            before = results(worker)
            kept = ArmCounts(client, KEYS, tmp_path / "log")
            eventually(lambda: all(_kept(kept, arm) == _plain(of) for arm, of in before.items()))
            client.flushall()
            look(8)  # counted before it is noticed, or after
            eventually(lambda: told("answers") == dict(shown) and told("clicks") == dict(shown))
            eventually(lambda: sum(arm["attributed"]["clicks"] for arm in results(worker).values()) == 20)
            time.sleep(0.3)
            assert told("answers") == dict(shown)
            assert sum(arm["slots"] for arm in results(worker).values()) == 60
            eventually(lambda: worker.metric("recsys_history_restored_total", what="arms") == 2)
        finally:
            ended.set()
            for one in near:
                one.join(20)


def _kept(kept: ArmCounts, arm: str) -> tuple[int, int]:
    of = kept.read().get("test", {}).get(arm, {})
    return of.get("counters", {}).get("clicks", 0), of.get("attributed", {}).get("clicks", 0)


def _plain(of: dict[str, Any]) -> tuple[int, int]:
    return of["clicks"], of["attributed"]["clicks"]


@pytest.fixture
def counted(redis_server: Any, tmp_path: Path) -> Any:
    """A Redis that has counted for an arm, and its counts in the file."""
    with redis_server.client() as client:
        holds(client)
        client.hset(COUNTERS, mapping={"answers": 10, "clicks": 3})
        client.hset(ATTRIBUTED, mapping={"slots": 60})
        mark = Mark(client, KEYS, 0)
        mark.set()
        ArmCounts(client, KEYS, tmp_path).keep(mark)
        yield client


def test_several_who_put_back_at_once_add_once_and_what_was_not_lost_is_not_added(
    counted: Any, redis_server: Any, tmp_path: Path
) -> None:
    assert ArmCounts(counted, KEYS, tmp_path).put_back() == 0  # as where the mark alone was deleted
    assert counted.hget(COUNTERS, "answers") == b"10"
    for _ in range(2):  # a second loss, before anything was kept again
        counted.flushall()
        counted.hincrby(COUNTERS, "answers", 2)
        clients = [redis_server.client() for _ in range(4)]
        at_once = [threading.Thread(target=ArmCounts(one, KEYS, tmp_path).put_back) for one in clients]
        for one in at_once:
            one.start()
        for one in at_once:
            one.join(10)
        for client in clients:
            client.close()
        assert (counted.hget(COUNTERS, "answers"), counted.hget(COUNTERS, "clicks")) == (b"12", b"3")
        assert counted.hget(ATTRIBUTED, "slots") == b"60"


def test_a_loss_while_counts_are_being_kept_leaves_the_file_as_it_was_and_them_to_be_put_back(
    counted: Any, tmp_path: Path
) -> None:
    before = (tmp_path / FILE).read_bytes()

    class Losing(Mark):
        """Redis is emptied after the first look of two."""

        looks = 0

        def hold(self, upto_ms: int = 0) -> bool:
            self.looks += 1
            if self.looks == 1:
                found = super().hold(upto_ms)
                document = counted.hgetall(KEYS.experiments)
                counted.flushall()
                counted.hset(KEYS.experiments, mapping=document)
                counted.hincrby(COUNTERS, "answers", 1)
                return found
            return super().hold(upto_ms)

    counts = ArmCounts(counted, KEYS, tmp_path)
    counts.keep(Losing(counted, KEYS, 0))
    assert (tmp_path / FILE).read_bytes() == before
    assert counts.put_back() == 1
    assert counted.hget(COUNTERS, "answers") == b"11"


def test_counts_of_an_experiment_that_ended_stay_in_the_file(counted: Any, tmp_path: Path) -> None:
    document = orjson.dumps({"experiments": [{"name": "next", "arms": ARMS}]})
    counted.hset(KEYS.experiments, mapping={"active": 2, "document:2": document})
    counted.hset(KEYS.counters("next", "control"), mapping={"answers": 5})
    counts = ArmCounts(counted, KEYS, tmp_path)
    counts.keep(Mark(counted, KEYS, 0))
    found = counts.read()
    assert found["test"]["other"] == {"counters": {"answers": 10, "clicks": 3}, "attributed": {"slots": 60}}
    assert found["next"]["control"]["counters"] == {"answers": 5}


def test_a_file_of_counts_that_is_broken_is_told_and_holds_nothing_up(
    counted: Any, redis_server: Any, tmp_path: Path
) -> None:
    (tmp_path / FILE).write_bytes(b'{"test": 3}')
    with pytest.raises(InputError, match="must hold counts of arms"):
        ArmCounts(counted, KEYS, tmp_path).read()
    counted.flushall()
    settings = Settings(redis_url=redis_server.url)
    collect(counted, tmp_path, worker="a", stop=threading.Event(), once=True, returns=settings)
    assert counted.hget(KEYS.history, "arms") == b"0"


def cells(client: Any) -> dict[tuple[str, str], tuple[float, ...]]:
    found = client.hgetall(KEYS.appeal)
    return {named(one): tuple(np.frombuffer(raw, dtype=PACKED)[0].tolist()) for one, raw in found.items()}


def count(client: Any, scenario: str, item: str, *numbers: float, ago_s: float = 0.0) -> None:
    """Let an item have these counts from now on."""
    where = field(scenario, item)
    client.hset(KEYS.appeal, where, np.array([numbers], dtype=PACKED).tobytes())
    client.zadd(KEYS.appeal_changed, {where: (time.time() - ago_s) * 1000})


def test_live_counts_of_items_go_on_from_where_they_were_kept_or_from_a_log_that_reaches_further(
    redis_server: Any, tmp_path: Path, make_counters: Any
) -> None:
    rows = [("x", "", 0, 90.0, 1.0, 0.5), ("y", "", 0, 90.0, 1.0, 0.5)]
    history = replace(make_counters(rows, half_life_s=1000.0, window_s=0.0), scenarios=("", "home"))
    path = tmp_path / "live.parquet"
    with redis_server.client() as client:
        kept = KeptAppeal(client, KEYS, path)
        kept.keep()
        assert kept.read() is None  # nobody counts
        first = begin(client, KEYS, history, kept.read)
        count(client, "home", "q\x1fü", 3.0, 8.25, 8.0, 1e9 / 3)
        kept.keep()
        count(client, "", "x", 9.0, 9.0, 9.0, 100.0)
        kept.keep()  # of one that changed
        before = cells(client)
        assert set(before) == {("", "x"), ("", "y"), ("home", "q\x1fü")}
        client.flushall()
        kept.keep()  # nothing is counted now: the file stays
        again = begin(client, KEYS, history, KeptAppeal(client, KEYS, path).read)
        assert cells(client) == before
        assert replace(again, begun_s=first.begun_s) == first
        assert again.begun_s > first.begun_s
        kept.keep()
        client.flushall()
        begin(client, KEYS, replace(history, until_s=time.time() + 60), kept.read)
        assert set(cells(client)) == {("", "x"), ("", "y")}
        path.write_bytes(b"broken")
        assert kept.read() is None


def test_a_loss_while_items_counts_are_being_kept_leaves_the_file_as_it_was(
    redis_server: Any, tmp_path: Path, make_counters: Any
) -> None:
    history = make_counters([("x", "", 0, 90.0, 1.0, 0.5)], half_life_s=1000.0, window_s=0.0)
    path = tmp_path / "live.parquet"

    class Emptied(redis.Redis):
        """Loses everything while it is read."""

        def hmget(self, *given: Any) -> Any:
            self.flushall()
            return super().hmget(*given)

    with redis_server.client() as client:
        begin(client, KEYS, history)
        KeptAppeal(client, KEYS, path).keep()
        before = path.read_bytes()
        with Emptied.from_url(redis_server.url) as emptied:
            KeptAppeal(emptied, KEYS, path).keep()
        assert path.read_bytes() == before


def test_counts_of_items_are_written_again_only_where_one_has_changed_or_could_not_be_written(
    redis_server: Any, tmp_path: Path, make_counters: Any
) -> None:
    history = make_counters([("x", "", 0, 90.0, 1.0, 0.5)], half_life_s=1000.0, window_s=0.0)
    path = tmp_path / "counters" / "live.parquet"
    with redis_server.client() as client:
        begin(client, KEYS, history)
        kept = KeptAppeal(client, KEYS, path)
        with pytest.raises(OSError, match="counters"):  # there is no such folder yet
            kept.keep()
        path.parent.mkdir()
        kept.keep()
        first = path.stat().st_ino
        kept.keep()
        assert path.stat().st_ino == first
        count(client, "", "x", 9.0, 9.0, 9.0, 100.0)
        kept.keep()
        assert path.stat().st_ino != first
        found = kept.read()
        assert found is not None
        assert [list(cell)[1:] for cell in found.cells] == [[9.0, 9.0, 9.0, 100.0]]
        count(client, "", "x", 8.0, 8.0, 8.0, 100.0, ago_s=60)  # a replica that was behind has taken over
        kept.keep()
        found = kept.read()
        assert found is not None
        assert [list(cell)[1:] for cell in found.cells] == [[8.0, 8.0, 8.0, 100.0]]
        count(client, "", "x", 7.0, 7.0, 7.0, 100.0, ago_s=120)  # so again, and it counts on already
        count(client, "", "y", 5.0, 5.0, 5.0, 100.0)
        kept.keep()
        found = kept.read()
        assert found is not None
        assert sorted(list(cell)[1] for cell in found.cells) == [5.0, 7.0]


def test_attribute_keeps_live_counts_beside_the_log_s_and_goes_on_from_them(
    redis_server: Any, tmp_path: Path, make_counters: Any, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    monkeypatch.setattr(appeal_kept, "KEEP_S", 0.05)
    history = make_counters([("x", "", 0, 90.0, 1.0, 0.5)], half_life_s=1e9, window_s=0.0)
    slots = orjson.dumps({"items": ["q"], "sources": ["popular"], "propensities": [1.0]})
    ended = threading.Event()

    def show(client: Any, number: int) -> None:
        said = {"recommendation_id": f"r{number}", "surface": "feed", "timestamp": repr(time.time()), "slots": slots}
        client.xadd(KEYS.impressions, said)

    with redis_server.client() as client:
        given = {"worker": "a", "stop": ended, "wait_s": 0.02, "counters": history, "keep": tmp_path / "live.parquet"}
        near = threading.Thread(target=attribute, args=(client,), kwargs=given)
        near.start()
        try:
            for number in range(3):
                show(client, number)
            eventually(lambda: ("", "q") in cells(client) and cells(client)["", "q"][1] > 2.9)
            looks = cells(client)["", "q"][1]
            read = KeptAppeal(client, KEYS, tmp_path / "live.parquet").read

            def kept() -> list[float]:
                found = read()
                return [cell[2] for cell in (found.cells if found else ()) if cell[0].endswith("q")]

            eventually(lambda: kept() == [looks])
            client.flushall()
            show(client, 3)
            eventually(lambda: ("", "q") in cells(client) and cells(client)["", "q"][1] > looks + 0.9)
            assert cells(client)["", "q"][1] == pytest.approx(looks * 4 / 3, rel=1e-3)
        finally:
            ended.set()
            near.join(20)
