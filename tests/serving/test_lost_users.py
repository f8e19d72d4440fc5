"""Users' recent events that Redis has lost come back from the archive: each once, and of nobody who was deleted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from features.errors import InputError
from serving.events import Event
from serving.history import archived
from serving.history.forgotten import FOLDER, Forgotten, forgotten
from serving.history.mark import Mark
from serving.history.users import Archived, UserStates
from serving.keys import Keys
from serving.nearline.archive import Archive
from serving.nearline.collect import collect
from serving.nearline.rows import event_rows
from serving.settings import Settings

KEYS = Keys()


def state(client: Any, user_id: str) -> dict[str, Any]:
    """All that Redis knows of a user's doings, and which event ids it would know again."""
    prefix = KEYS.event(user_id, "")
    return {
        "recent": [orjson.loads(entry) for entry in client.lrange(KEYS.recent(user_id), 0, -1)],
        "seen": dict(client.zrange(KEYS.seen(user_id), 0, -1, withscores=True)),
        "bought": dict(client.zrange(KEYS.bought(user_id), 0, -1, withscores=True)),
        "ids": {key.decode().removeprefix(prefix) for key in client.scan_iter(match=f"{prefix}*", count=1000)},
    }


@contextmanager
def collecting(server: Any, folder: Path, **given: Any) -> Iterator[None]:
    """A near-line worker beside the service."""
    stop = threading.Event()
    settings = Settings(**{"redis_url": server.url, **given})
    with server.client() as client:
        named = {"worker": "a", "stop": stop, "wait_s": 0.02, "returns": settings}
        collector = threading.Thread(target=collect, args=(client, folder), kwargs=named)
        collector.start()
        try:
            yield
        finally:
            stop.set()
            collector.join(20)
        assert not collector.is_alive()


def once(server: Any, folder: Path, **given: Any) -> None:
    settings = Settings(**{"redis_url": server.url, **given})
    with server.client() as client:
        collect(client, folder, worker="a", stop=threading.Event(), once=True, returns=settings)


@contextmanager
def under_traffic(worker: Any) -> Iterator[list[str]]:
    """Visitors who act and look at their feeds; the answers that were none."""
    failed: list[str] = []
    stop = threading.Event()

    def visit() -> None:
        with worker.client() as client:
            for number in range(1_000_000):
                if stop.is_set():
                    return
                event = {"user_id": f"v{number}", "item_id": f"i{number % 60}", "event_type": "view"}
                for answer in (
                    client.post("/v1/events", json={"events": [event]}),
                    client.get(f"/v1/users/v{number}/feed"),
                ):
                    if answer.status_code not in {200, 202}:
                        failed.append(answer.text)

    visitors = [threading.Thread(target=visit) for _ in range(2)]
    for visitor in visitors:
        visitor.start()
    try:
        yield failed
    finally:
        stop.set()
        for visitor in visitors:
            visitor.join(20)


def did(user_id: str, n: int, *, at_s: float, event_type: str = "view") -> list[dict[str, Any]]:
    return [
        {
            "event_id": f"{user_id}-{event_type}-{number}",
            "user_id": user_id,
            "item_id": f"i{number}",
            "event_type": event_type,
            "timestamp": at_s + number,
        }
        for number in range(n)
    ]


def test_an_emptied_redis_gets_users_events_back_under_traffic_each_once_and_a_deleted_user_s_never(
    mortal_redis: Any, start_service: Any, small_bundle: Path, tmp_path: Path, eventually: Any
) -> None:
    archive, at_s = tmp_path / "log", time.time() - 3600
    worker = start_service(bundle=small_bundle, redis_url=mortal_redis.url, archive=archive)
    eventually(lambda: worker.get("/ready").json()["redis"] == "up")
    worker.post(*did("reader", 5, at_s=at_s), *did("buyer", 3, at_s=at_s, event_type="purchase"))
    worker.post(*did("gone", 4, at_s=at_s), *did("new again", 4, at_s=at_s))
    for user_id in ("gone", "new%20again"):
        assert httpx.delete(f"{worker.base_url}/v1/users/{user_id}", timeout=10).status_code == 204
    time.sleep(0.01)  # a deletion is of all that was heard up to its millisecond
    worker.post({"user_id": "new again", "item_id": "i9", "event_type": "view", "event_id": "after", "timestamp": at_s})
    with mortal_redis.client() as client, collecting(mortal_redis, archive):
        before = {user_id: state(client, user_id) for user_id in ("reader", "buyer", "new again")}
        eventually(lambda: any((archive / "events").glob("part-*")))
        eventually(lambda: client.xpending(KEYS.events, "archive")["pending"] == 0)
        with under_traffic(worker) as failed:
            time.sleep(0.2)
            client.flushall()
            late = {"user_id": "reader", "item_id": "i20", "event_type": "view", "event_id": "late"}
            worker.post({**late, "timestamp": at_s + 2.5})
            again = did("reader", 1, at_s=at_s)[0]
            worker.post(again)  # before it is back: taken, and not there twice in the end
            eventually(lambda: client.hget(KEYS.history, "mark"))
            eventually(lambda: worker.metric("recsys_history_restored_total", what="events") > 0)
            assert worker.post(*did("buyer", 3, at_s=at_s, event_type="purchase")).json()["duplicates"] == 3
        assert failed == []
        found = state(client, "reader")
        lately = [["i20", "view", at_s + 2.5, "late"]]
        assert found["recent"] == sorted([*before["reader"]["recent"], *lately], key=lambda one: -one[2])
        assert found["seen"] == {**before["reader"]["seen"], b"i20": at_s + 2.5}
        assert found["ids"] == before["reader"]["ids"] | {"late"}
        for user_id in ("buyer", "new again"):
            assert state(client, user_id) == {**before[user_id], "ids": before[user_id]["ids"] - _old(user_id)}
        assert [one[3] for one in state(client, "new again")["recent"]] == ["after"]
        assert state(client, "gone") == {"recent": [], "seen": {}, "bought": {}, "ids": set()}
        for name in ("recent", "seen", "stamp"):
            ttl = client.ttl(getattr(KEYS, name)("buyer"))
            assert Settings().user_ttl_s - 60 <= ttl <= Settings().user_ttl_s
        assert client.ttl(KEYS.bought("buyer")) > Settings().user_ttl_s
    shown = worker.feed_ids("reader", k=40)
    assert not {"i0", "i1", "i2", "i3", "i4", "i20"} & set(shown)
    assert worker.metric("recsys_history_in_step") == 1
    assert worker.metric("recsys_history_lost_total") == 0


def _old(user_id: str) -> set[str]:
    """Ids of events that a deleted user had sent, whose marks are let go by themselves."""
    return {f"{user_id}-view-{number}" for number in range(4)}


def test_a_worker_that_is_killed_while_it_puts_back_is_gone_on_with_and_two_at_once_put_back_once(
    redis_server: Any, tmp_path: Path, eventually: Any
) -> None:
    program = """
import sys, threading, time
from pathlib import Path
from redis import Redis
from serving.history import archived, returner, users
from serving.nearline.collect import collect
from serving.settings import Settings
archived.CHUNK_ROWS, returner.STEP_USERS, returner.LEASE_S = 20, 3, 1.0
slowly = users.UserStates.put_back
users.UserStates.put_back = lambda *given: time.sleep(0.01) or slowly(*given)
settings = Settings(redis_url=sys.argv[1])
collect(Redis.from_url(sys.argv[1]), Path(sys.argv[2]), worker=sys.argv[3], stop=threading.Event(), returns=settings)
"""
    archive, rng = tmp_path / "log", random.Random(3)
    Forgotten(archive)
    now_ms = int(time.time() * 1000) - 100_000
    happened = [
        Event(f"e{number}", f"u{number % 40}", f"i{rng.randrange(60)}", "view", now_ms / 1000 + number, None)
        for number in range(400)
    ]
    parts = Archive(archive / "events", event_rows)
    for start in range(0, 400, 10):
        batch = [(f"{now_ms + start + n}-0", happened[start + n]) for n in range(10)]
        parts.write(
            [(entry_id, {name: text.encode() for name, text in one.fields().items()}) for entry_id, one in batch],
            again=False,
        )

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", program, redis_server.url, str(archive), name]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    with redis_server.client() as client:
        workers = {name: start(name) for name in ("a", "b")}
        try:
            for least, killed in ((60, "a"), (120, "ab")):
                eventually(lambda least=least: int(client.hget(KEYS.returned, "events") or 0) >= least, within_s=60)
                for name in killed:  # whoever is at it
                    os.kill(workers[name].pid, signal.SIGKILL)
                    workers[name].wait()
                    workers[name] = start(name)
                assert client.hget(KEYS.history, "mark") is None
            eventually(lambda: client.hget(KEYS.history, "mark"), within_s=60)
            assert 360 <= int(client.hget(KEYS.history, "events")) <= 400  # some twice, of which one was not told
            for user in range(40):
                mine = [one for one in happened if one.user_id == f"u{user}"]
                found = state(client, f"u{user}")
                assert found["recent"] == [orjson.loads(one.entry()) for one in reversed(mine)]
                assert found["ids"] == {one.event_id for one in mine}
            eventually(lambda: client.exists(KEYS.returning, KEYS.returned) == 0)
        finally:
            for worker in workers.values():
                worker.kill()
                worker.wait()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_was_lost_and_in_whatever_order_it_comes_back_the_state_is_that_of_all_events(
    redis_server: Any, seed: int
) -> None:
    rng = random.Random(seed)
    settings = Settings(redis_url=redis_server.url, recent_cap=7, seen_cap=6)
    now_ms = int(time.time() * 1000)
    types = ("view", "view", "purchase", "viewable")
    happened = [
        Archived(
            now_ms - 1000 * (60 - number),
            Event(f"e{number}", "u", f"i{rng.randrange(12)}", rng.choice(types), rng.randrange(1000) + 0.5, None),
        )
        for number in range(25)
    ]
    with redis_server.client() as client:
        states = UserStates(client, KEYS, settings)
        since = rng.sample(happened, rng.randrange(6))  # as if these alone had been heard of since the loss
        states.put_back(sorted(since, key=lambda one: -one.arrived_ms))
        for _ in range(6):
            states.put_back(sorted(rng.sample(happened, 9), key=lambda one: -one.arrived_ms))
        states.put_back(happened[::-1])
        whole = state(client, "u")
        assert states.put_back(happened[::-1]) == 0
        assert state(client, "u") == whole
    tasteful = [one.event for one in happened if one.event.event_type != "viewable"]
    times = sorted((one.timestamp for one in tasteful), reverse=True)[:7]
    assert [entry[2] for entry in whole["recent"]] == times
    assert {tuple(entry) for entry in whole["recent"]} <= {
        (one.item_id, one.event_type, one.timestamp, one.event_id) for one in tasteful
    }
    assert whole["ids"] == {f"e{number}" for number in range(25)}
    for name, events in (("seen", tasteful), ("bought", [one for one in tasteful if one.event_type == "purchase"])):
        latest: dict[bytes, float] = {}
        for one in events:
            item = one.item_id.encode()
            latest[item] = max(one.timestamp, latest.get(item, 0.0))
        best = sorted(latest.items(), key=lambda pair: (pair[1], pair[0]))[-6:]
        assert sorted(whole[name].values()) == sorted(at for _, at in best)


def test_what_is_older_than_the_service_keeps_stays_away_and_purchases_come_back_for_longer(
    redis_server: Any, tmp_path: Path
) -> None:
    Forgotten(tmp_path)
    given = {"user_ttl_s": 1000, "bought_ttl_s": 5000, "event_id_ttl_s": 100}
    now_s = time.time()
    parts = Archive(tmp_path / "events", event_rows)
    for number, (age_s, kind) in enumerate([(50, "view"), (500, "view"), (2000, "view"), (2000, "buy"), (6000, "buy")]):
        event = Event(f"e{number}", "u", f"i{number}", kind, now_s - age_s, None)
        fields = {name: text.encode() for name, text in event.fields().items()}
        parts.write([(f"{int((now_s - age_s) * 1000)}-{number}", fields)], again=False)
    once(redis_server, tmp_path, **given)
    with redis_server.client() as client:
        found = state(client, "u")
        assert [one[3] for one in found["recent"]] == ["e0", "e1"]
        assert set(found["seen"]) == {b"i0", b"i1"}
        assert set(found["bought"]) == {b"i3"}
        assert found["ids"] == {"e0"}
        assert 40 <= client.ttl(KEYS.event("u", "e0")) <= 50
        assert 940 <= client.ttl(KEYS.recent("u")) <= 950
        assert 2990 <= client.ttl(KEYS.bought("u")) <= 3000


def test_a_deletion_while_events_are_put_back_holds_and_so_does_one_just_before_the_loss(
    redis_server: Any, start_service: Any, small_bundle: Path, tmp_path: Path, eventually: Any
) -> None:
    worker = start_service(bundle=small_bundle, redis_url=redis_server.url, archive=tmp_path)
    eventually(lambda: worker.get("/ready").json()["redis"] == "up")
    at_s = time.time() - 60
    worker.post(*did("one", 3, at_s=at_s), *did("other", 3, at_s=at_s))
    once(redis_server, tmp_path)
    with redis_server.client() as client:
        entries = client.xrange(KEYS.events)
        read = [
            Archived(int(entry_id.split(b"-")[0]), Event(*(fields[name].decode() for name in names), at_s, None))
            for entry_id, fields in entries
            for names in [(b"event_id", b"user_id", b"item_id", b"event_type")]
        ]
        assert httpx.delete(f"{worker.base_url}/v1/users/one", timeout=10).status_code == 204
        theirs = [one for one in read if one.event.user_id == "one"][::-1]  # read before the deletion
        assert UserStates(client, KEYS, Settings()).put_back(theirs) == 0
        assert state(client, "one")["recent"] == []
        assert httpx.delete(f"{worker.base_url}/v1/users/other", timeout=10).status_code == 204
        client.flushall()  # nobody has collected since
        once(redis_server, tmp_path)
        assert state(client, "one")["recent"] == state(client, "other")["recent"] == []


def test_a_deletion_that_redis_forgets_while_events_are_put_back_holds_by_the_note_on_disk(
    redis_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Forgotten(tmp_path)
    put_back = UserStates.put_back

    with redis_server.client() as client:
        for event in (*did("one", 2, at_s=1000.0), *did("other", 2, at_s=1000.0)):
            client.xadd(KEYS.events, {name: str(value) for name, value in event.items()})
        once(redis_server, tmp_path)
        client.flushall()

        def late(states: UserStates, events: Any) -> int:
            """In between "one" is deleted, and Redis emptied again, with all that it knew of that."""
            if events and events[0].event.user_id == "one":
                notes.note("one", int(time.time() * 1000))
                client.flushall()
            return put_back(states, events)

        monkeypatch.setattr(UserStates, "put_back", late)
        once(redis_server, tmp_path)  # which lets it be, as Redis was emptied
        assert client.hget(KEYS.history, "mark") is None
        assert state(client, "one")["recent"] == []
        once(redis_server, tmp_path)
        assert client.hget(KEYS.history, "mark") is not None
        assert state(client, "one")["recent"] == []
        assert [one[3] for one in state(client, "other")["recent"]] == ["other-view-1", "other-view-0"]


def test_an_archive_of_very_small_parts_is_read_a_few_at_a_time(
    redis_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Forgotten(tmp_path)
    monkeypatch.setattr(archived, "CHUNK_PARTS", 3)
    parts, now_ms = Archive(tmp_path / "events", event_rows), int(time.time() * 1000)
    for number in range(10):
        kind = "buy" if number in {0, 9} else "view"
        event = Event(f"e{number}", "u", f"i{number}", kind, now_ms / 1000, None)
        fields = {name: text.encode() for name, text in event.fields().items()}
        parts.write([(f"{now_ms - 100_000 * (10 - number)}-0", fields)], again=False)
    given = {"before": "", "recent_from_ms": now_ms - 350_000, "bought_from_ms": now_ms - 10**7, "purchases": ("buy",)}
    found = list(archived.chunks(tmp_path / "events", **given))
    ids = [[one.event.event_id for user in chunk.users for one in user] for chunk in found]
    assert ids == [["e9", "e8", "e7"], [], [], ["e0"]]
    rest = list(archived.chunks(tmp_path / "events", **{**given, "before": found[1].reached}))
    assert [chunk.reached for chunk in rest] == [chunk.reached for chunk in found[2:]]
    once(redis_server, tmp_path)
    with redis_server.client() as client:
        assert len(state(client, "u")["recent"]) == 10


def test_a_deletion_is_of_all_that_was_archived_also_where_the_clock_of_redis_ran_ahead_then(
    redis_server: Any, start_service: Any, small_bundle: Path, tmp_path: Path, eventually: Any
) -> None:
    worker = start_service(bundle=small_bundle, redis_url=redis_server.url, archive=tmp_path)
    eventually(lambda: worker.get("/ready").json()["redis"] == "up")
    ahead_ms = int(time.time() * 1000) + 600_000  # of the machine on which Redis ran before
    event = Event("e1", "u", "i1", "view", time.time(), None)
    fields = {name: text.encode() for name, text in event.fields().items()}
    Archive(tmp_path / "events", event_rows).write([(f"{ahead_ms}-0", fields)], again=False)
    once(redis_server, tmp_path)
    with redis_server.client() as client:
        assert [entry[3] for entry in state(client, "u")["recent"]] == ["e1"]
        assert httpx.delete(f"{worker.base_url}/v1/users/u", timeout=10).status_code == 204
        assert state(client, "u")["recent"] == []
        client.flushall()
        once(redis_server, tmp_path)
        assert client.hget(KEYS.history, "mark")
        assert state(client, "u")["recent"] == []


def test_a_deletion_that_cannot_be_noted_is_refused(
    redis_server: Any, start_service: Any, small_bundle: Path, tmp_path: Path, eventually: Any
) -> None:
    worker = start_service(bundle=small_bundle, redis_url=redis_server.url, archive=tmp_path)
    eventually(lambda: worker.get("/ready").json()["redis"] == "up")
    (tmp_path / FOLDER).rmdir()
    (tmp_path / FOLDER).write_text("in the way")
    answer = httpx.delete(f"{worker.base_url}/v1/users/u1", timeout=10)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:recsys:problem:archive-down")
    with pytest.raises(InputError, match="RECSYS_ARCHIVE"):
        Forgotten(tmp_path)


def test_a_worker_that_was_told_of_no_archive_deletes_nobody_while_others_note_deletions(
    redis_server: Any, start_service: Any, small_bundle: Path, tmp_path: Path, eventually: Any
) -> None:
    archive, given = tmp_path / "log", {"bundle": small_bundle, "redis_url": redis_server.url}

    def start(**more: Any) -> Any:
        worker = start_service(**given, **more)
        eventually(lambda: worker.get("/ready").json()["redis"] == "up")
        return worker

    def deleted(worker: Any) -> int:
        answer = httpx.delete(f"{worker.base_url}/v1/users/u", timeout=10)
        if answer.status_code == 503:
            assert answer.json()["type"] == "urn:recsys:problem:archive-down"
            assert "set RECSYS_ARCHIVE for all workers alike" in answer.json()["detail"]
        return answer.status_code

    untold = start(state_dir=tmp_path / "state")
    once(redis_server, archive)  # which keeps events, and would give none of them back
    assert deleted(untold) == 204
    Forgotten(archive)
    once(redis_server, archive)
    assert deleted(untold) == 503
    eventually(lambda: orjson.loads((tmp_path / "state" / "history.json").read_bytes())["noted"])
    with redis_server.client() as client:
        client.flushall()  # nobody has said anything of it since
        assert deleted(untold) == deleted(start(state_dir=tmp_path / "state")) == 503
        once(redis_server, tmp_path / "another log")
        assert deleted(untold) == 204
        told = start(archive=archive, state_dir=tmp_path / "other")
        eventually(lambda: client.hget(KEYS.history, "noted") == b"1")
    assert (deleted(untold), deleted(told)) == (503, 204)


def test_notes_of_deletions_are_read_but_for_what_a_crash_cut_off_and_what_is_broken_is_told(tmp_path: Path) -> None:
    assert forgotten(tmp_path) is None
    one, other = Forgotten(tmp_path), Forgotten(tmp_path)
    assert forgotten(tmp_path) == {}
    one.note("ü", 5)
    other.note("ü", 9)
    one.note("u2", 7)
    one.note("ü", 6)
    (file,) = [path for path in (tmp_path / FOLDER).iterdir() if b"u2" in path.read_bytes()]
    with file.open("ab") as notes:
        notes.write(b'["u3", 1')
    assert forgotten(tmp_path) == {"ü": 9, "u2": 7}
    file.write_bytes(b'["u3"]\n')
    with pytest.raises(InputError, match="must hold a user and a moment"):
        forgotten(tmp_path)


@pytest.mark.parametrize(
    ("noted", "given", "why"),
    [
        (False, {}, "RECSYS_ARCHIVE must name this folder"),
        (True, {"restore": False}, "RECSYS_RESTORE is off"),
        (None, {}, "must hold a user and a moment"),
    ],
)
def test_where_nothing_may_be_put_back_it_is_said_why(
    redis_server: Any, tmp_path: Path, noted: bool | None, given: dict[str, Any], why: str
) -> None:
    if noted is not False:
        Forgotten(tmp_path)
    if noted is None:
        (tmp_path / FOLDER / "broken.jsonl").write_bytes(b"{}\n")
    with redis_server.client() as client:
        for event in did("u", 3, at_s=time.time() - 60):
            client.xadd(KEYS.events, {name: str(value) for name, value in event.items()})
        once(redis_server, tmp_path)
        client.flushall()
        once(redis_server, tmp_path, **given)
        assert why in client.hget(KEYS.history, "without").decode()
        assert state(client, "u")["recent"] == []


def test_a_service_without_an_archive_says_what_is_lost_once(
    mortal_redis: Any, start_service: Any, small_bundle: Path, eventually: Any
) -> None:
    workers = [start_service(bundle=small_bundle, redis_url=mortal_redis.url) for _ in range(2)]
    eventually(lambda: all(worker.get("/ready").json()["redis"] == "up" for worker in workers))
    with mortal_redis.client() as client:
        eventually(lambda: client.hget(KEYS.history, "met"))
        time.sleep(0.3)
        client.flushall()
        eventually(lambda: client.hget(KEYS.history, "told"))
    eventually(lambda: sum(worker.metric("recsys_history_lost_total") for worker in workers) == 1)
    time.sleep(0.3)
    assert sum(worker.metric("recsys_history_lost_total") for worker in workers) == 1


def test_while_nobody_puts_back_what_is_archived_the_service_is_out_of_step(
    mortal_redis: Any, start_service: Any, small_bundle: Path, tmp_path: Path, eventually: Any
) -> None:
    given = {"redis_url": mortal_redis.url, "archive": tmp_path / "log", "state_dir": tmp_path / "state"}
    worker = start_service(bundle=small_bundle, **given)
    eventually(lambda: worker.get("/ready").json()["redis"] == "up")
    worker.post(*did("u", 3, at_s=time.time() - 60))
    once(mortal_redis, tmp_path / "log")
    with mortal_redis.client() as client:
        eventually((tmp_path / "state" / "history.json").exists)
        time.sleep(0.3)
        client.flushall()
        eventually(lambda: worker.metric("recsys_history_in_step") == 0)
        late = start_service(bundle=small_bundle, **given)  # also one that starts only now knows of it
        eventually(lambda: late.metric("recsys_history_in_step") == 0)
        once(mortal_redis, tmp_path / "log")
        eventually(lambda: all(one.metric("recsys_history_in_step") == 1 for one in (worker, late)))
        restored = "recsys_history_restored_total"
        eventually(lambda: sum(one.metric(restored, what="events") for one in (worker, late)) == 3)


def test_a_redis_that_went_back_to_a_backup_gets_what_came_after_it(
    redis_server: Any, start_service: Any, small_bundle: Path, tmp_path: Path, eventually: Any
) -> None:

    def send(events: list[dict[str, Any]], client: Any) -> None:
        for event in events:
            client.xadd(KEYS.events, {name: str(value) for name, value in event.items()})
        once(redis_server, tmp_path)

    worker = start_service(bundle=small_bundle, redis_url=redis_server.url, archive=tmp_path)
    with redis_server.client() as client:
        eventually(lambda: client.hget(KEYS.history, "met"))
        send(did("u", 2, at_s=1000.0), client)
        backup = client.hgetall(KEYS.history)
        send(did("u", 4, at_s=1000.0)[2:], client)
        assert client.lrange(KEYS.recent("u"), 0, -1) == []  # the service applies events; here none does
        pipeline = client.pipeline(transaction=True)
        pipeline.flushall()
        pipeline.hset(KEYS.history, mapping=backup)
        pipeline.execute()
        once(redis_server, tmp_path)
        assert [one[3] for one in state(client, "u")["recent"]] == [f"u-view-{number}" for number in (3, 2, 1, 0)]
    eventually(lambda: worker.metric("recsys_history_restored_total", what="events") == 4)
    assert worker.metric("recsys_history_lost_total") == 0


def test_the_mark_moves_on_and_an_earlier_one_or_none_tells_of_a_loss(redis_server: Any) -> None:
    with redis_server.client() as client:
        mark, other = Mark(client, KEYS, 0), Mark(client, KEYS, 0)
        assert (mark.hold(), mark.hold(5)) == (False, False)
        assert client.exists(KEYS.history) == 0
        mark.set(events=3)
        first = int(client.hget(KEYS.history, "mark"))
        assert abs(first / 1e6 - time.time()) < 5
        assert (mark.hold(), other.hold()) == (True, True)
        ahead_ms = int(time.time() * 1000) + 60_000  # an entry of a server whose clock was ahead
        assert mark.hold(ahead_ms)
        assert int(client.hget(KEYS.history, "mark")) == ahead_ms * 1000 + 999
        assert mark.hold()
        client.hset(KEYS.history, "mark", first)
        assert (mark.hold(), Mark(client, KEYS, ahead_ms).hold()) == (False, False)
        mark.set()
        assert mark.hold()
        assert int(client.hget(KEYS.history, "mark")) > ahead_ms * 1000
