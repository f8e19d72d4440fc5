"""Two cannot publish at once, and whoever lost the lock leaves the next one's alone."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from features.errors import InputError
from serving.keys import Keys
from serving.publish_lock import LOCK_S, LockLostError, PublishLock

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
            client.set(KEY, "there:77:another's", ex=5)
            with pytest.raises(LockLostError, match="lost its lock: there:77 publishes now"):
                lock.keep()
            assert client.ttl(KEY) <= 5
        assert client.get(KEY) == b"there:77:another's"
        client.delete(KEY)
        with lock.held():
            client.delete(KEY)
            with pytest.raises(LockLostError, match="nobody publishes now"):
                lock.keep()


def test_what_only_the_holder_may_write_is_not_written_by_whoever_held_the_lock_before(redis_server: Any) -> None:
    name = Keys().current
    with redis_server.client() as client:
        lock = PublishLock(client, KEY)
        with lock.held():
            assert lock.write(name, "v1")
            assert not lock.write(name, "v2", if_none=True)
            assert client.get(name) == b"v1"
            assert lock.write(name, "v2")
            client.set(KEY, "there:77:another's")
            with pytest.raises(LockLostError, match="there:77"):
                lock.write(name, "v3")
        assert client.get(name) == b"v2"


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
