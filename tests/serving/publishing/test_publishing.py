"""What is published is whole; rollbacks, and versions that go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from features.errors import InputError
from recsys.bundle import Bundle
from recsys.recommender import BundleRecommender
from serving import entries, versions
from serving.codec import unpack
from serving.keys import Keys
from serving.publishing import Publisher


def test_a_published_version_holds_every_item_list_and_feed(
    publisher: Publisher, small: Bundle, redis_server: Any
) -> None:
    done = publisher.publish(small)
    assert (done.version, done.previous, done.n_keys) == (small.version, None, 60 + 60 + 20)
    with redis_server.client() as client:
        assert client.get(Keys().current).decode() == small.version
        assert len(list(client.scan_iter(match=Keys().of_version(small.version)))) == 140 + 1
        item = orjson.loads(client.get(Keys().item(small.version, "i3")))
        assert (item["title"], item["image_url"]) == ("Red shoe 3", "/v1/images/i3")
        slots = unpack(client.get(Keys().similar(small.version, "i3")))
        expected = BundleRecommender(small).similar_items("i3", 50)
        assert [small.items[slot.item_idx] for slot in slots] == [one.item_id for one in expected]
        feed = unpack(client.get(Keys().feed(small.version, "u1")))
        assert feed[0].source == "published"


def test_what_is_current_already_is_not_loaded_again_unless_keys_are_missing(
    publisher: Publisher, small: Bundle, redis_server: Any
) -> None:
    publisher.publish(small)
    assert publisher.publish(small).n_keys == 0
    with redis_server.client() as client:
        client.delete(Keys().similar(small.version, "i7"))
    assert publisher.publish(small).n_keys == 140
    with redis_server.client() as client:
        assert client.exists(Keys().similar(small.version, "i7"))


def test_rollback_returns_to_the_version_before_and_then_there_is_none(
    publisher: Publisher, small: Bundle, changed: Bundle
) -> None:
    publisher.publish(small)
    assert publisher.publish(changed).previous == small.version
    assert publisher.current() == changed.version
    assert publisher.rollback() == (changed.version, small.version)
    assert publisher.current() == small.version
    with pytest.raises(InputError, match=f"no version was published before {small.version}"):
        publisher.rollback()


def test_nothing_published_is_nothing_to_roll_back(publisher: Publisher) -> None:
    with pytest.raises(InputError, match="nothing is published"):
        publisher.rollback()


def test_a_version_without_all_its_keys_is_not_returned_to(
    publisher: Publisher, small: Bundle, changed: Bundle, redis_server: Any
) -> None:
    publisher.publish(small)
    publisher.publish(changed)
    with redis_server.client() as client:
        client.delete(Keys().item(small.version, "i0"))
    with pytest.raises(InputError, match=f"version {small.version} lacks keys"):
        publisher.rollback()
    assert publisher.current() == changed.version


def test_rollback_works_after_the_bundle_was_overwritten_by_the_next_training_run(
    publisher: Publisher, small_bundle: Path, changed: Bundle, tmp_path: Path
) -> None:
    import shutil

    run = tmp_path / "run" / "bundle"
    shutil.copytree(small_bundle, run)
    first = publisher.publish(Bundle.open(run)).version
    shutil.rmtree(run)
    publisher.publish(changed)
    assert publisher.rollback() == (changed.version, first)


@pytest.mark.parametrize("keep", [0, 1])
def test_versions_past_the_kept_ones_expire(
    redis_server: Any, small: Bundle, changed: Bundle, tmp_path: Path, keep: int
) -> None:
    with redis_server.client() as client:
        publisher = Publisher(client, state_dir=tmp_path, keep=keep)
        publisher.publish(small)
        publisher.publish(changed)
        for name in (Keys().item(small.version, "i0"), Keys().meta(small.version), Keys().feed(small.version, "u0")):
            ttl = client.ttl(name)
            assert ttl == -1 if keep else 0 < ttl <= versions.RETIRE_S
        assert client.ttl(Keys().item(changed.version, "i0")) == -1
        assert (tmp_path / "bundles" / small.version).exists() == bool(keep)


def test_a_version_that_was_expiring_lives_when_it_is_published_again(
    redis_server: Any, small: Bundle, changed: Bundle, tmp_path: Path
) -> None:
    with redis_server.client() as client:
        publisher = Publisher(client, state_dir=tmp_path, keep=0)
        for bundle in (small, changed, small):
            publisher.publish(bundle)
        names = list(client.scan_iter(match=Keys().of_version(small.version)))
        assert len(names) == 141
        assert {client.ttl(name) for name in names} == {-1}


def test_predicted_memory_is_near_what_the_server_accounts(
    publisher: Publisher, small: Bundle, redis_server: Any
) -> None:
    done = publisher.publish(small)
    with redis_server.client() as client:
        names = list(client.scan_iter(match=Keys().of_version(small.version)))
        told = sum(client.memory_usage(name, samples=0) for name in names if b":meta" not in name)
    assert done.predicted_bytes == pytest.approx(told, rel=0.15)


def test_several_processes_write_what_one_does(
    redis_server: Any, small: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "BLOCK", 20)
    held = []
    with redis_server.client() as client:
        for processes in (1, 2):
            client.flushall()
            Publisher(client, state_dir=tmp_path, processes=processes).publish(small)
            names = sorted(client.scan_iter(match=Keys().of_version(small.version)))
            held.append({name: client.get(name) for name in names if not name.endswith(b":meta")})
    assert len(held[0]) == 140
    assert held[0] == held[1]
