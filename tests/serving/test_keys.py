from __future__ import annotations

import pytest
from redis.crc import key_slot

from serving import keys


@pytest.mark.parametrize("user_id", ["u1", "", "a}b", "{a}", "}", "50%", "é{"])
def test_all_keys_of_a_user_lie_in_one_cluster_slot(user_id: str) -> None:
    names = [keys.recent(user_id), keys.seen(user_id), keys.event(user_id, "e{1}")]
    assert len({key_slot(name.encode()) for name in names}) == 1


def test_users_do_not_share_keys_whatever_their_ids_hold() -> None:
    users = ["a", "a}", "a%7D", "{a", "%7Ba", "a}:recent", "a:recent"]
    assert len({keys.recent(user) for user in users}) == len(users)


def test_a_version_s_keys_are_those_its_pattern_finds() -> None:
    for name in (keys.item("v1", "x"), keys.similar("v1", "x"), keys.feed("v1", "u"), keys.meta("v1")):
        assert name.startswith(keys.of_version("v1").removesuffix("*"))
    assert not keys.recent("v1").startswith(keys.of_version("v1").removesuffix("*"))
