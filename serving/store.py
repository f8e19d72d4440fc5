"""What a worker asks of Redis, with an end to its patience.

A call that fails or takes longer than the timeout is counted; after a few in a row the store is down, and nobody asks
it until the worker's one prober (`serving/watcher.py`) finds it answering again. So a lost Redis costs a request at
most one timeout, and a slow one cannot pull the service down with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import chain, count, islice
from typing import Any, TypeVar, cast

import redis.asyncio
import structlog
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from serving.applying import Applied, Applying
from serving.coalesced import Coalesced
from serving.connection import close, connect_async, hanging_up, is_cluster, many_async
from serving.describing import MOST_DESCRIBED, Attributes, describe
from serving.events import Event
from serving.forgetting import FORGOTTEN_CAP, forget, heard_until
from serving.history.deletions import Deletions
from serving.keys import Keys
from serving.lateness import Lateness
from serving.once import Command, Mark, add
from serving.reads import Reads
from serving.settings import Settings, masked
from serving.telemetry import Telemetry
from serving.user_reads import Asked, UserRead, commands, user_read

log = structlog.get_logger()
T = TypeVar("T")

MOST_EVENTS = 100
"""Events of several requests that are applied in one step; those of one request are never parted."""
MOST_USERS = 8
"""Users whose states are read in one round trip: more would take much of the time that Redis is given."""
HEARD = 0.5
"""A timeout in which the worker itself listened for a smaller share of the time is not a failure of Redis. It counts
by that share, so that a Redis that is gone is noticed by a worker that is always late, too, only not as soon."""


class StoreDownError(Exception):
    """Redis is not to be asked now, or did not answer in time; the caller answers without it."""


class StoreRefusedError(StoreDownError):
    """Redis answers and does not write, as it is full or only a replica; what is there can still be read."""


class Store:
    """The worker's side of Redis.

    Args:
        url: where it is; None: there is none, and the store is down for good.
        settings: timeouts, caps and times to live.
        telemetry: counts failures and shows the state.

    Attributes:
        keys: of the tenant whose data this is.
        deletions: where those of users are noted.
    """

    def __init__(self, url: str | None, settings: Settings, telemetry: Telemetry) -> None:
        self.keys = Keys(settings.tenant)
        self._settings = settings
        self._telemetry = telemetry
        self._shared_reads, self._own_reads = (telemetry.cache.labels("reads", outcome) for outcome in ("hit", "miss"))
        self._failures = 0.0
        self._lateness = Lateness()
        self._up, self._told_down = False, False
        self._address = "" if url is None else masked(url)
        self._client: redis.asyncio.Redis | None = None
        self._values = Coalesced(self._mget, self._count_reads)
        self._users = Coalesced(self._of_users, most_keys=MOST_USERS)
        self._events = Coalesced(self._apply, most_keys=MOST_EVENTS)
        self._turns = count()
        self.deletions = Deletions(settings.archive)
        if url is not None:
            self._client = connect_async(url, timeout_s=settings.redis_timeout_s, pool_size=settings.redis_pool_size)
            clustered = is_cluster(url)
            self._reads = None if clustered else Reads(self._client, timeout_s=settings.redis_timeout_s)
            self._applying = Applying(self._client, self.keys, settings, clustered=clustered)

    @property
    def configured(self) -> bool:
        """Whether there is a Redis to speak of."""
        return self._client is not None

    @property
    def up(self) -> bool:
        """Whether Redis is to be asked."""
        return self._up

    def mark_up(self) -> None:
        """Let requests ask Redis again."""
        if not self._up:
            log.info("redis answers")
        self._up, self._told_down, self._failures = True, False, 0.0
        self._telemetry.redis_up.set(1)

    def mark_down(self, why: str) -> None:
        """Stop requests asking Redis."""
        if not self._told_down:  # also of one that was never there
            log.warning("redis does not answer, the bundle does", redis=self._address, error=why)
        self._up, self._told_down = False, True
        self._telemetry.redis_up.set(0)

    async def close(self) -> None:
        """Give back the connections."""
        if self._client is not None:
            if self._reads is not None:
                await self._reads.close()
            await close(self._client)

    async def similar(self, version: str, item_id: str) -> bytes | None:
        """The packed list of similar items, None where none is published."""
        return (await self._values.get([self.keys.similar(version, item_id)]))[0]

    async def items(self, version: str, item_ids: Sequence[str]) -> list[bytes | None]:
        """The items as the API shows them, None where absent."""
        if not item_ids:
            return []
        return await self._values.get([self.keys.item(version, item_id) for item_id in item_ids])

    def _count_reads(self, asked: int, fetched: int) -> None:
        self._shared_reads.inc(asked - fetched)
        self._own_reads.inc(fetched)

    async def _mget(self, names: list[str]) -> list[bytes | None]:
        reads = self._reads
        return await self.asked(lambda client: many_async(client, names) if reads is None else reads.get(names))

    async def user(self, user_id: str, version: str | None = None) -> UserRead:
        """A user's live state, and with a version the list published for them, in one round trip."""
        return (await self._users.get([(user_id, version or "")]))[0]

    async def _of_users(self, users: list[Asked]) -> list[UserRead]:
        reads, each = self._reads, [commands(self.keys, one, self._settings.recent_cap) for one in users]

        async def ask(client: redis.asyncio.Redis) -> list[Any]:
            every = list(chain.from_iterable(each))
            if reads is not None:
                return await reads.ask(every)
            pipeline: Any = client.pipeline(transaction=False)
            for command in every:
                pipeline.execute_command(*command)
            found: list[Any] = await pipeline.execute()
            return found

        answers = iter(await self.asked(ask))
        return [user_read(list(islice(answers, len(of_user)))) for of_user in each]

    async def stamp(self, user_id: str) -> bytes | None:
        """What changes with a user's live state; None where nothing of it is younger than its time to live."""
        return (await self._values.get([self.keys.stamp(user_id)]))[0]

    async def describe(self, said: Mapping[str, Attributes], *, whole: bool) -> None:
        """Keep what the shop says of users; where Redis goes away in the middle, what came before is kept.

        Args:
            said: attributes by user id.
            whole: whether that is all there is to say of each; otherwise other attributes stay.
        """
        left, ttl_s = iter(said.items()), self._settings.user_ttl_s
        while some := dict(islice(left, MOST_DESCRIBED)):
            await self.asked(partial(describe, keys=self.keys, said=some, whole=whole, ttl_s=ttl_s))

    async def apply(self, events: Sequence[Event], *, probing: bool = False) -> list[Applied]:
        """Apply events in one atomic step, with those of other requests of the same turn; in a cluster, in one for each
        user. What became of each.
        """
        if probing:
            return await self.asked(lambda _: self._applying.apply(events), probing=True)
        return await self._events.get([(next(self._turns), event) for event in events])  # one sent twice is two

    async def _apply(self, events: list[tuple[int, Event]]) -> list[Applied]:
        return await self.asked(lambda _: self._applying.apply([event for _, event in events]))

    async def forget(self, user_id: str) -> None:
        """Delete a user's live state, let every worker know, and note that the streams are to be cleared of them; on
        disk, that nothing may be put back of them.

        Raises:
            StoreDownError: Redis is away.
            ProblemError: 503, it cannot be noted.
        """
        until_ms, noted = await self.asked(partial(heard_until, keys=self.keys))
        self.deletions.hear(noted)
        await self.deletions.note(user_id, until_ms)
        await self.asked(partial(forget, keys=self.keys, user_id=user_id, until_ms=until_ms))

    async def log_impressions(self, entries: Sequence[dict[str, bytes]], mark: Mark) -> None:
        """Append answers to the impression stream, where the batch of this mark was not before.

        Raises:
            StoreDownError: Redis is away.
            InputError: it refuses them for good.
        """
        begin = ("XADD", "MAXLEN", "~", self._settings.stream_cap, "*")
        commands: list[Command] = [(*begin, *chain.from_iterable(cast("Any", entry.items()))) for entry in entries]
        await self.asked(partial(add, keys=self.keys, mark=mark, additions={self.keys.impressions: commands}))

    async def probe(self, forgotten_after: str | None) -> tuple[str | None, list[tuple[str, str]]]:
        """Ask even while down: the current version, and the users forgotten since stream entry `forgotten_after`.

        Args:
            forgotten_after: the last entry known; None: only the newest is told, to begin after it.

        Returns:
            The version or None, and (entry id, user id) pairs, oldest first.
        """

        async def ask(client: redis.asyncio.Redis) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            pipeline.get(self.keys.current)
            if forgotten_after is None:
                pipeline.xrevrange(self.keys.forgotten, count=1)
            else:
                pipeline.xrange(self.keys.forgotten, min=f"({forgotten_after}", count=FORGOTTEN_CAP)
            return await pipeline.execute()

        version, forgotten = await self.asked(ask, probing=True)
        users = [(entry_id.decode(), fields[b"user_id"].decode()) for entry_id, fields in forgotten]
        return None if version is None else version.decode(), users

    async def meta(self, version: str) -> dict[str, str]:
        """What was recorded about a version when it was published; empty where it is unknown."""
        found = await self.asked(
            lambda client: cast("Awaitable[dict[bytes, bytes]]", client.hgetall(self.keys.meta(version))), probing=True
        )
        return {name.decode(): value.decode() for name, value in found.items()}

    async def asked(self, ask: Callable[[redis.asyncio.Redis], Awaitable[T]], *, probing: bool = False) -> T:
        """Ask Redis something, and count how that goes.

        Args:
            ask: the question.
            probing: ask even while Redis is down.

        Raises:
            StoreDownError: it is not to be asked now, or did not answer in time.
        """
        if self._client is None or not (self._up or probing):
            raise StoreDownError("redis is not to be asked now")
        begun = self._lateness.begin()
        try:
            with hanging_up():
                answer = await ask(self._client)
        except (OutOfMemoryError, ReadOnlyError) as error:
            self._telemetry.redis_refusals.inc()
            raise StoreRefusedError(str(error)) from error
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error, self._lateness.heard(begun))
            raise StoreDownError(str(error)) from error
        finally:
            self._lateness.end()
        self._failures = 0.0
        return answer

    def _failed(self, error: Exception, heard: float) -> None:
        """Count a failure; a timeout by the share of the wait in which this worker listened, where that is small."""
        timed_out = any(isinstance(one, (TimeoutError, RedisTimeoutError)) for one in (error, error.__cause__))
        if timed_out and heard < HEARD:
            self._telemetry.redis_unheard.inc()
            self._failures += heard
        else:
            self._telemetry.redis_failures.inc()
            self._failures += 1
        if self._failures >= self._settings.breaker_failures:
            self.mark_down(str(error))
