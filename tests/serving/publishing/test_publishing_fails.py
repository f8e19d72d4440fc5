"""A publish that fails, is cut off, or is not alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import redis

from features.errors import InputError
from recsys.bundle import Bundle
from recsys.recommender import BundleRecommender
from serving import entries, loading, versions
from serving.codec import unpack
from serving.entries import Block, Entry, entries_of
from serving.keys import Keys
from serving.loading import Loader
from serving.publish_lock import LockLostError, PublishLock
from serving.publishing import Publisher
from serving.versions import Versions


def test_a_publish_past_the_memory_budget_is_refused_before_anything_is_written(
    redis_server: Any, small: Bundle, tmp_path: Path
) -> None:
    with redis_server.client() as client:
        used = client.info("memory")["used_memory"]
        publisher = Publisher(client, state_dir=tmp_path, memory_budget=used + 10_000)
        with pytest.raises(InputError, match=r"the memory budget is [\d,]+ bytes; Redis uses"):
            publisher.publish(small)
        assert client.dbsize() == 0
        assert Publisher(client, state_dir=tmp_path, memory_budget=used + 5_000_000).publish(small).n_keys == 140


def test_the_server_s_own_limit_is_a_budget_too(mortal_redis: Any, small: Bundle, tmp_path: Path) -> None:
    with mortal_redis.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 80_000)
        with pytest.raises(InputError, match="memory budget"):
            Publisher(client, state_dir=tmp_path).publish(small)


def test_what_does_not_read_back_as_written_is_not_made_current(
    publisher: Publisher, small: Bundle, changed: Bundle, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.publish(small)
    read_back = Loader._read_back

    def meddled(self: Loader, names: Any, written: Any) -> None:
        with redis_server.client() as client:
            client.set(Keys().item(changed.version, "i5"), b"something else")
        read_back(self, names, written)

    monkeypatch.setattr(Loader, "_read_back", meddled)
    with pytest.raises(InputError, match=r":item:i5 must read back as it was written, Redis holds 14 other bytes"):
        publisher.publish(changed)
    assert publisher.current() == small.version
    with redis_server.client() as client:  # what was loaded for nothing goes away by itself
        assert 0 < client.ttl(Keys().item(changed.version, "i0")) <= versions.RETIRE_S


def test_a_failing_publish_of_a_version_kept_for_rollback_leaves_it_whole(
    publisher: Publisher, small: Bundle, changed: Bundle, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.publish(small)
    publisher.publish(changed)

    def failing(self: Loader, names: Any, written: Any) -> None:
        raise InputError("does not read back")

    monkeypatch.setattr(Loader, "_read_back", failing)
    with pytest.raises(InputError, match="does not read back"):
        publisher.publish(small)
    with redis_server.client() as client:
        assert {client.ttl(name) for name in client.scan_iter(match=Keys().of_version(small.version))} == {-1}
    assert publisher.rollback() == (changed.version, small.version)


def test_an_interrupted_publish_goes_on_where_it_was(
    publisher: Publisher, small: Bundle, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Block] = []

    def until_the_third(block: Block, *given: Any) -> list[Entry]:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(block)
        return entries_of(block, *given)

    monkeypatch.setattr(entries, "BLOCK", 20)  # 60 items and 20 users: 4 blocks
    monkeypatch.setattr(loading, "entries_of", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        publisher.publish(small)
    assert publisher.current() is None
    with redis_server.client() as client:
        client.set(Keys().similar(small.version, "i25"), b"meddled with")  # the second block is not whole any more
    again: list[Block] = []

    def told(block: Block, *given: Any) -> list[Entry]:
        again.append(block)
        return entries_of(block, *given)

    monkeypatch.setattr(loading, "entries_of", told)
    assert publisher.publish(small).n_keys == 140
    assert [block.name for block in made] == ["items:0:20", "items:20:40"]
    assert [block.name for block in again] == ["items:20:40", "items:40:60", "users:0:20"]
    with redis_server.client() as client:
        expected = BundleRecommender(small).similar_items("i25", 50)
        slots = unpack(client.get(Keys().similar(small.version, "i25")))
        assert [small.items[slot.item_idx] for slot in slots] == [one.item_id for one in expected]
        assert not client.exists(Keys().loaded(small.version))


def test_two_cannot_publish_at_once(publisher: Publisher, small: Bundle, redis_server: Any) -> None:
    with redis_server.client() as client:
        client.set(Keys().publishing, "somebody", ex=60)
        with pytest.raises(InputError, match="another publish is running"):
            publisher.publish(small)
        assert client.get(Keys().publishing) == b"somebody"


@pytest.mark.parametrize("after", [(Loader, "load"), (Versions, "record")])
def test_a_publish_that_slept_until_another_began_switches_nothing_and_leaves_what_it_loaded(
    publisher: Publisher, small: Bundle, changed: Bundle, redis_server: Any, after: tuple[type, str]
) -> None:
    publisher.publish(small)
    do = getattr(*after)
    with redis_server.client() as client, pytest.MonkeyPatch.context() as asleep:

        def sleeps_then(*given: Any, **named: Any) -> Any:
            done = do(*given, **named)
            client.set(Keys().publishing, "elsewhere:77:token", ex=60)
            return done

        asleep.setattr(*after, sleeps_then)
        with pytest.raises(LockLostError, match="elsewhere:77 publishes now"):
            publisher.publish(changed)
        assert publisher.current() == small.version
        assert client.get(Keys().publishing) == b"elsewhere:77:token"
        assert client.ttl(Keys().item(changed.version, "i0")) == -1  # the other may be publishing the same
        client.delete(Keys().publishing)
    assert publisher.publish(changed).version == publisher.current() == changed.version


def test_a_publish_that_slept_when_it_had_switched_lets_nothing_expire_that_another_loads_meanwhile(
    publisher: Publisher, small: Bundle, changed: Bundle, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.publish(small)
    switch = Versions.switch
    with redis_server.client() as client:

        def sleeps_then(*given: Any, **named: Any) -> bool:
            done = switch(*given, **named)
            client.set(Keys().publishing, "elsewhere:77:token", ex=60)
            client.sadd(Keys().versions, "next")  # which the other has begun to load
            client.set(Keys().item("next", "i0"), "{}")
            return done

        monkeypatch.setattr(Versions, "switch", sleeps_then)
        assert publisher.publish(changed).version == publisher.current() == changed.version
        assert client.ttl(Keys().item("next", "i0")) == -1
        assert client.sismember(Keys().versions, "next")
        assert client.get(Keys().publishing) == b"elsewhere:77:token"


def test_letting_a_large_version_expire_shows_life(
    publisher: Publisher, small: Bundle, changed: Bundle, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "BATCH", 20)
    publisher.publish(small)
    publisher.publish(changed)
    with redis_server.client() as client:
        versions_of, lock = Versions(client, Path("nowhere"), Keys()), PublishLock(client, Keys().publishing)
        with lock.held():
            client.expire(Keys().publishing, 5)
            versions_of.expire(small.version, lock)
            assert client.ttl(Keys().publishing) > 5
            client.set(Keys().publishing, "elsewhere:77:token", ex=60)
            with pytest.raises(LockLostError):
                versions_of.expire(changed.version, lock)
        assert client.sismember(Keys().versions, changed.version)  # so that the next publish finds it
        ttls = [client.ttl(key) for key in client.scan_iter(match=Keys().of_version(changed.version))]
    assert -1 in ttls


def test_where_only_none_is_to_be_replaced_what_is_current_or_becomes_so_meanwhile_stays(
    publisher: Publisher, small: Bundle, changed: Bundle, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publisher.publish(small, if_none=True)
    assert (first.version, publisher.current()) == (small.version, small.version)
    second = publisher.publish(changed, if_none=True)
    assert (second.version, second.n_keys, publisher.current()) == (small.version, 0, small.version)
    load = Loader.load
    with redis_server.client() as client:
        client.delete(Keys().current)

        def meanwhile(*given: Any, **named: Any) -> int:
            n_keys = load(*given, **named)
            client.set(Keys().current, small.version)
            return n_keys

        monkeypatch.setattr(Loader, "load", meanwhile)
        with pytest.raises(InputError, match=f"{small.version} became current meanwhile: {changed.version} is left"):
            publisher.publish(changed, if_none=True)
        assert publisher.current() == small.version
        assert client.ttl(Keys().item(changed.version, "i0")) > 0


def test_a_redis_that_is_gone_is_an_error_of_its_own_kind(small: Bundle, tmp_path: Path) -> None:
    client = redis.Redis.from_url(f"unix://{tmp_path}/nothing.sock")
    began = time.monotonic()
    with pytest.raises(redis.ConnectionError):
        Publisher(client, state_dir=tmp_path).publish(small)
    assert time.monotonic() - began < 10
