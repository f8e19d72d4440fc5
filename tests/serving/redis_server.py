"""A real Redis server that a test may kill and bring back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from serving.embedded_redis import EmbeddedRedis


def wait_for(true: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Wait until something holds; fail if it does not in time."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@dataclass
class RedisServer:
    """A server that a test may kill and bring back."""

    folder: Path
    stack: ExitStack = field(default_factory=ExitStack)
    running: EmbeddedRedis | None = None
    url: str = ""

    def start(self) -> None:
        self.running = self.stack.enter_context(EmbeddedRedis(self.folder))
        self.url = self.running.url

    def kill(self) -> None:
        """As a power cut would, once everything written so far is on disk (a server alone syncs once a second)."""
        assert self.running is not None
        with self.client() as client:
            client.set("marker", 1)
            client.delete("marker")
            synced = client.execute_command("WAITAOF", 1, 0, 5000)
            assert synced[0] == 1
        os.kill(self.running.pid, signal.SIGKILL)
        wait_for(lambda: not self.answers())
        self.stack.close()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """It takes what it is asked, reads it later, and says nothing meanwhile."""
        assert self.running is not None
        os.kill(self.running.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.running.pid, signal.SIGCONT)

    def forget_everything(self) -> None:
        """What a server without persistence does when it starts again."""
        with self.client() as client:
            client.flushall()

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0))

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
