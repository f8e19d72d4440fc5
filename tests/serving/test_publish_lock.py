"""Two cannot publish at once, and whoever lost the lock leaves the next one's alone."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from features.errors import InputError
from serving.keys import Keys
from serving.publish_lock import LOCK_S, PublishLock

KEY = Keys().publishing


def test_the_lock_is_one_s_alone_until_it_is_let_go(redis_server: Any) -> None:
    with redis_server.client() as client:
        one, other = PublishLock(client, KEY), PublishLock(client, KEY)
        with one.held():
            assert 0 < client.ttl(KEY) <= LOCK_S
            with pytest.raises(InputError, match="another publish is running"), other.held():
                pass
        with other.held():
            assert client.exists(KEY)
        assert not client.exists(KEY)


def test_showing_life_prolongs_one_s_own_lock_and_not_the_next_one_s(redis_server: Any) -> None:
    with redis_server.client() as client:
        lock = PublishLock(client, KEY)
        with lock.held():
            client.expire(KEY, 5)
            lock.keep()
            assert client.ttl(KEY) > LOCK_S - 5
            client.set(KEY, "another's", ex=5)
            lock.keep()
            assert client.ttl(KEY) <= 5
        assert client.get(KEY) == b"another's"


def test_a_lock_that_runs_out_while_it_is_let_go_leaves_the_next_one_s(redis_server: Any) -> None:
    class Hasty(redis.Redis):
        """After each command that this client sends, the lock has run out and is another's."""

        taken = False

        def execute_command(self, *args: Any, **options: Any) -> Any:
            said = super().execute_command(*args, **options)
            if self.taken:
                super().execute_command("SET", KEY, "another's")
            return said

    with Hasty.from_url(redis_server.url) as client:
        with PublishLock(client, KEY).held():
            client.taken = True
        client.taken = False
        assert client.get(KEY) == b"another's"
