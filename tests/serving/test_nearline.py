"""From the streams to parquet: nothing lost, nothing twice, whoever is killed when."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from typer.testing import CliRunner

from features.errors import InputError
from serving.commands.log import app
from serving.keys import Keys
from serving.nearline.archive import Archive, merge
from serving.nearline.collect import GROUP, collect
from serving.nearline.follow import follow
from serving.nearline.group import Batch, StreamGroup
from serving.nearline.rows import event_rows, impression_rows


def answer(number: int, **changes: Any) -> dict[str, Any]:
    slots: dict[str, Any] = {"items": [f"i{number}", "x"], "sources": ["published", "popular"]}
    slots |= {"propensities": [1.0, 0.5], "marginals": [1.0, None]}
    return {
        "recommendation_id": f"r{number}",
        "surface": "feed",
        "subject": f"u{number % 7}",
        "model_version": "v1",
        "timestamp": repr(1_700_000_000.0 + number),
        "slots": orjson.dumps(slots),
        **changes,
    }


def event(number: int) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "user_id": "u1",
        "item_id": f"i{number}",
        "event_type": "click",
        "timestamp": repr(1_700_000_000.5 + number),
        "recommendation_id": f"r{number}",
    }


def run_once(client: Any, folder: Path, *, worker: str = "a", **given: Any) -> Any:
    return collect(client, folder, worker=worker, stop=threading.Event(), once=True, **given)


def test_a_slot_is_a_row_and_an_event_is_a_row_in_the_order_of_the_streams(redis_server: Any, tmp_path: Path) -> None:
    with redis_server.client() as client:
        for number in range(12):
            client.xadd(Keys().impressions, answer(number, arm="b"))
            client.xadd(Keys().events, event(number))
        counts = run_once(client, tmp_path, size=5)
    assert counts.entries == {"impressions": 12, "events": 12}
    assert merge(tmp_path / "impressions", tmp_path / "impressions.parquet", kind="impressions") == (24, 0)
    shown = pd.read_parquet(tmp_path / "impressions.parquet")
    assert shown["request_id"].tolist() == [f"r{number}" for number in range(12) for _ in range(2)]
    assert shown["item_id"].tolist()[:4] == ["i0", "x", "i1", "x"]
    assert shown["position"].tolist()[:4] == [0, 1, 0, 1]
    assert shown["propensity"].tolist()[:2] == [1.0, 0.5]
    assert shown["marginal"].isna().tolist()[:2] == [False, True]
    assert (shown[["policy", "campaign", "arm"]].drop_duplicates().to_numpy() == [["v1", "feed", "b"]]).all()
    assert shown["user_id"].tolist()[:2] == ["u0", "u0"]
    assert merge(tmp_path / "events", tmp_path / "events.parquet", kind="events") == (12, 0)
    assert pd.read_parquet(tmp_path / "events.parquet")["recommendation_id"].tolist() == [f"r{n}" for n in range(12)]


def test_a_log_of_one_kind_alone_is_merged_and_one_of_neither_is_told(redis_server: Any, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    asked = ["merge", str(log), str(out)]
    with redis_server.client() as client:
        run_once(client, log)
        assert isinstance(CliRunner().invoke(app, asked).exception, InputError)
        client.xadd(Keys().events, event(0))
        run_once(client, log)
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0
    assert "impressions: none yet" in done.output
    assert len(pd.read_parquet(out / "events.parquet")) == 1


def test_entries_of_a_worker_that_died_before_it_acknowledged_are_kept_once(redis_server: Any, tmp_path: Path) -> None:
    with redis_server.client() as client:
        for number in range(10):
            client.xadd(Keys().events, event(number))
        group = StreamGroup(client, Keys().events, group=GROUP, worker="a", size=4, abandoned_after_s=60)
        group.join()
        batches = group.batches()
        written = next(batches)
        Archive(tmp_path / "events", event_rows).write(written.entries, again=False)  # and dies: no acknowledgment
        run_once(client, tmp_path)  # the same worker, started again
        pending: Any = client.xpending(Keys().events, GROUP)
        assert pending["pending"] == 0
    assert merge(tmp_path / "events", tmp_path / "all.parquet", kind="events") == (10, 0)


def test_another_worker_takes_over_what_a_dead_one_held(redis_server: Any, tmp_path: Path) -> None:
    with redis_server.client() as client:
        for number in range(10):
            client.xadd(Keys().events, event(number))
        dead = StreamGroup(client, Keys().events, group=GROUP, worker="dead", size=6, abandoned_after_s=60)
        dead.join()
        next(dead.batches())
        run_once(client, tmp_path, worker="b", abandoned_after_s=60)
        assert merge(tmp_path / "events", tmp_path / "all.parquet", kind="events") == (4, 0)
        time.sleep(0.02)
        run_once(client, tmp_path, worker="b", abandoned_after_s=0.01)
    assert merge(tmp_path / "events", tmp_path / "all.parquet", kind="events") == (10, 0)
    found = pd.read_parquet(tmp_path / "all.parquet")["event_id"].tolist()
    assert found == [f"e{number}" for number in range(10)]


def test_two_workers_that_write_the_same_entries_leave_each_row_once(tmp_path: Path) -> None:
    entries = [(f"{number}-0", {k: v.encode() for k, v in event(number).items()}) for number in range(6)]
    archive = Archive(tmp_path / "events", event_rows)
    archive.write(entries[:4], again=False)
    archive.write(entries[2:], again=False)
    assert merge(tmp_path / "events", tmp_path / "all.parquet", kind="events") == (6, 2)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_parts_that_overlap_are_merged_in_order_whatever_is_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr("serving.nearline.archive.MERGED_ROWS", rows)
    rng = np.random.default_rng(0)
    archive = Archive(tmp_path / "impressions", impression_rows)
    entries = [
        (f"{n}-{n % 3}", {k: v if isinstance(v, bytes) else v.encode() for k, v in answer(n, **more).items()})
        for n in (9, 10, 99, 100, *rng.permutation(np.arange(101, 200)).tolist())
        for more in [{"arms": "{}"} if n % 2 else {}]
    ]
    for start in range(0, len(entries), 10):  # each of another stretch, most of which overlap
        part = entries[start : start + 12]
        archive.write(sorted(part, key=lambda entry: int(entry[0].partition("-")[0])), again=False)
    kept, twice = merge(tmp_path / "impressions", tmp_path / "all.parquet", kind="impressions")
    assert kept == 2 * len(entries)
    assert twice == 4 * (-(-len(entries) // 10) - 1)
    found = pd.read_parquet(tmp_path / "all.parquet")
    ids = [int(entry.partition("-")[0]) for entry in found["entry_id"]]
    assert ids == sorted(ids)
    assert found["position"].tolist() == [0, 1] * len(entries)
    assert (found["arms"].isna() == [one % 2 == 0 for one in ids]).all()


def test_workers_that_are_killed_again_and_again_lose_nothing_and_keep_nothing_twice(
    redis_server: Any, tmp_path: Path
) -> None:
    program = """
import sys, threading
from pathlib import Path
from redis import Redis
from serving.nearline.collect import collect
from serving.commands.log import app
from serving.keys import Keys
collect(Redis.from_url(sys.argv[1]), Path(sys.argv[2]), worker=sys.argv[3], stop=threading.Event(), size=7, wait_s=0.01)
"""
    rng = random.Random(5)

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", program, redis_server.url, str(tmp_path), name]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    n = 0
    workers = {name: start(name) for name in ("a", "b")}
    with redis_server.client() as client:
        for _ in range(6):
            for _ in range(150):
                client.xadd(Keys().events, event(n))
                n += 1
            time.sleep(rng.uniform(0.2, 0.6))
            name = rng.choice(["a", "b"])
            os.kill(workers[name].pid, signal.SIGKILL)
            workers[name].wait()
            workers[name] = start(name)
        for worker in workers.values():
            worker.kill()
            worker.wait()
        for name in workers:
            run_once(client, tmp_path, worker=name)
        pending: Any = client.xpending(Keys().events, GROUP)
        assert pending["pending"] == 0
    assert merge(tmp_path / "events", tmp_path / "all.parquet", kind="events") == (n, 0)
    assert sorted(pd.read_parquet(tmp_path / "all.parquet")["event_id"]) == sorted(f"e{k}" for k in range(n))


def test_what_cannot_be_read_is_kept_with_its_reason_and_holds_nothing_up(redis_server: Any, tmp_path: Path) -> None:
    with redis_server.client() as client:
        client.xadd(Keys().impressions, answer(0, slots=b"{"))
        client.xadd(Keys().impressions, answer(1, timestamp="soon"))
        client.xadd(Keys().impressions, {"surface": "feed"})
        zero = orjson.dumps({"items": ["a"], "sources": ["popular"], "propensities": [0.0]})
        client.xadd(Keys().impressions, answer(2, slots=zero))
        client.xadd(Keys().impressions, answer(3))
        run_once(client, tmp_path)
    assert merge(tmp_path / "impressions", tmp_path / "all.parquet", kind="impressions") == (2, 0)
    refused = [orjson.loads(line) for line in (tmp_path / "impressions" / "refused.jsonl").read_bytes().splitlines()]
    rules = [one["rule"] for one in refused]
    assert rules[0].startswith("field 'slots' must hold")
    assert rules[1:] == [
        "timestamp must be a number, got 'soon'",
        "field 'recommendation_id' is missing",
        "propensity must be in (0, 1], got 0.0",
    ]
    assert refused[1]["value"]["recommendation_id"] == "r1"


def test_entries_cut_off_before_they_were_read_are_counted(redis_server: Any, tmp_path: Path) -> None:
    with redis_server.client() as client:
        for number in range(10):
            client.xadd(Keys().events, event(number))
        run_once(client, tmp_path)
        for number in range(10, 30):
            client.xadd(Keys().events, event(number))
        client.xtrim(Keys().events, maxlen=5, approximate=False)
        counts = run_once(client, tmp_path)
    assert counts.lost["events"] == 15
    assert merge(tmp_path / "events", tmp_path / "all.parquet", kind="events") == (15, 0)


def test_entries_cut_off_while_a_worker_held_them_do_not_hold_it_up(redis_server: Any, tmp_path: Path) -> None:
    with redis_server.client() as client:
        for number in range(10):
            client.xadd(Keys().events, event(number))
        group = StreamGroup(client, Keys().events, group=GROUP, worker="a", size=8, abandoned_after_s=60)
        group.join()
        next(group.batches())
        client.xtrim(Keys().events, maxlen=4, approximate=False)
        run_once(client, tmp_path, size=3)
        pending: Any = client.xpending(Keys().events, GROUP)
        assert pending["pending"] == 0
    merge(tmp_path / "events", tmp_path / "all.parquet", kind="events")
    assert pd.read_parquet(tmp_path / "all.parquet")["event_id"].tolist() == ["e6", "e7", "e8", "e9"]


def test_a_stream_that_never_runs_dry_holds_up_neither_the_others_nor_what_is_done_beside(redis_server: Any) -> None:
    handled: list[tuple[str, int]] = []
    turns: list[float] = []
    stop = threading.Event()
    with redis_server.client() as client:
        streams = {"impressions": Keys().impressions, "events": Keys().events}
        groups = {
            name: StreamGroup(client, key, group=GROUP, worker="a", size=3, abandoned_after_s=60)
            for name, key in streams.items()
        }
        for number in range(7):
            client.xadd(streams["impressions"], answer(number))
        client.xadd(streams["events"], event(0))

        def handle(name: str, batch: Batch) -> None:
            handled.append((name, len(batch.entries)))
            assert len(handled) < 20
            groups[name].done(batch.entries)
            if name == "impressions":
                client.xadd(streams[name], answer(100 + len(handled)))  # another one comes as these are dealt with

        def beside() -> bool:
            turns.append(time.monotonic())
            if len(turns) == 3:
                stop.set()
            return False

        follow(groups, handle, stop=stop, once=False, wait_s=0.2, beside=beside)
    assert handled[:4] == [("impressions", 3), ("impressions", 3), ("impressions", 3), ("impressions", 1)]
    assert handled[4:] == [("events", 1), ("impressions", 1), ("impressions", 1)]
    assert turns[1] - turns[0] < 0.2 <= turns[2] - turns[1]  # no pause after whole batches, one after less


def test_a_worker_that_is_told_to_stop_ends_after_the_batch_at_hand(redis_server: Any) -> None:
    stop = threading.Event()
    handled: list[int] = []
    with redis_server.client() as client:
        group = StreamGroup(client, Keys().events, group=GROUP, worker="a", size=2, abandoned_after_s=60)
        for number in range(9):
            client.xadd(Keys().events, event(number))

        def handle(_: str, batch: Batch) -> None:
            handled.append(len(batch.entries))
            group.done(batch.entries)
            stop.set()

        follow({"events": group}, handle, stop=stop, once=False, wait_s=0.02)
    assert handled == [2]


def test_nothing_to_merge_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="recsys log collect"):
        merge(tmp_path, tmp_path / "all.parquet", kind="events")


def test_what_the_service_shows_and_hears_reaches_the_tables(
    service: Any, redis_server: Any, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    shown = service.feed("u4", k=3)
    clicked = shown["recommendations"][1]["item"]["item_id"]
    service.post(
        {"user_id": "u4", "item_id": clicked, "event_type": "click", "recommendation_id": shown["recommendation_id"]}
    )
    with redis_server.client() as client:
        eventually(lambda: client.xlen(Keys().impressions) == 1)
        run_once(client, tmp_path)
    merge(tmp_path / "impressions", tmp_path / "impressions.parquet", kind="impressions")
    merge(tmp_path / "events", tmp_path / "events.parquet", kind="events")
    slots, events = pd.read_parquet(tmp_path / "impressions.parquet"), pd.read_parquet(tmp_path / "events.parquet")
    joined = slots.merge(events, left_on=["request_id", "item_id"], right_on=["recommendation_id", "item_id"])
    assert joined[["item_id", "position", "user_id_x"]].to_numpy().tolist() == [[clicked, 1, "u4"]]
    assert impression_rows("1-0", {k: v if isinstance(v, bytes) else v.encode() for k, v in answer(5).items()})


def test_without_probabilities_over_all_lists_nothing_was_drawn_and_they_are_the_slots_own() -> None:
    slots = orjson.dumps({"items": ["a", "b"], "sources": ["x", "x"], "propensities": [1.0, 1.0]})
    rows = impression_rows("1-0", {name: str(value).encode() for name, value in answer(1).items()} | {"slots": slots})
    assert [row["marginal"] for row in rows] == [1.0, 1.0]


def test_a_redis_that_is_emptied_between_two_questions_of_a_worker_does_not_end_it(redis_server: Any) -> None:
    with redis_server.client() as client:
        group = StreamGroup(client, Keys().events, group=GROUP, worker="a", size=4, abandoned_after_s=60)
        group.join()
        client.flushall()
        client.xadd(Keys().events, event(0))
        assert group.lag() == (0, 0)
        group.join()
        assert group.lag() == (1, 0)
        assert [len(batch.entries) for batch in group.batches()] == [1]


def test_a_collector_goes_on_by_itself_where_redis_forgets_everything(
    redis_server: Any, tmp_path: Path, eventually: Any
) -> None:
    stop = threading.Event()

    def kept() -> list[str]:
        if not any((tmp_path / "events").glob("part-*.parquet")):
            return []
        merge(tmp_path / "events", tmp_path / "events.parquet", kind="events")
        found: list[str] = pd.read_parquet(tmp_path / "events.parquet")["event_id"].tolist()
        return found

    with redis_server.client() as client:
        given = {"worker": "a", "stop": stop, "wait_s": 0.02}
        collector = threading.Thread(target=collect, args=(client, tmp_path), kwargs=given)
        collector.start()
        try:
            client.xadd(Keys().events, event(0))
            eventually(lambda: kept() == ["e0"])
            for number in (1, 2):
                client.flushall()
                client.xadd(Keys().events, event(number))
                eventually(lambda number=number: kept() == [f"e{n}" for n in range(number + 1)])
        finally:
            stop.set()
            collector.join(20)
        assert not collector.is_alive()
