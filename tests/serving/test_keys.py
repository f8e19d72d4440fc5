from __future__ import annotations

import pytest
from redis.crc import key_slot

from serving.keys import Keys


@pytest.mark.parametrize("user_id", ["u1", "", "a}b", "{a}", "}", "50%", "é{"])
def test_all_keys_of_a_user_lie_in_one_cluster_slot(user_id: str) -> None:
    names = [Keys().recent(user_id), Keys().seen(user_id), Keys().event(user_id, "e{1}")]
    assert len({key_slot(name.encode()) for name in names}) == 1


@pytest.mark.parametrize("tenant", ["", "acme"])
def test_the_lock_of_publishing_lies_in_one_cluster_slot_with_what_it_guards(tenant: str) -> None:
    assert key_slot(Keys(tenant).publishing.encode()) == key_slot(Keys(tenant).current.encode())


@pytest.mark.parametrize("tenant", ["", "acme"])
def test_the_number_of_the_last_batch_lies_in_one_cluster_slot_with_what_it_was_added_to(tenant: str) -> None:
    keys = Keys(tenant)
    for name in (keys.impressions, keys.counters("looks", "bold"), keys.shadow_tally("v1")):
        assert key_slot(keys.added(name, "w").encode()) == key_slot(name.encode())


def test_users_do_not_share_keys_whatever_their_ids_hold() -> None:
    users = ["a", "a}", "a%7D", "{a", "%7Ba", "a}:recent", "a:recent"]
    assert len({Keys().recent(user) for user in users}) == len(users)


def test_a_version_s_keys_are_those_its_pattern_finds() -> None:
    for name in (Keys().item("v1", "x"), Keys().similar("v1", "x"), Keys().feed("v1", "u"), Keys().meta("v1")):
        assert name.startswith(Keys().of_version("v1").removesuffix("*"))
    assert not Keys().recent("v1").startswith(Keys().of_version("v1").removesuffix("*"))


def test_no_key_of_a_tenant_begins_as_one_of_another_does() -> None:
    one, other, alone = (Keys(tenant) for tenant in ("acme", "acme-2", ""))
    roots = [f"{keys.root}:" for keys in (one, other, alone)]
    for keys in (one, other, alone):
        for name in (keys.current, keys.events, keys.items, keys.recent("u"), keys.item("v", "x"), keys.item_now("x")):
            assert [name.startswith(root) for root in roots].count(True) == 1
            assert name.startswith(f"{keys.root}:")
