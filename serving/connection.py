"""Redis by its address: one server, a service that Sentinels watch over, or a cluster.

    redis://[user:password@]host:6379/0, rediss://..., unix:///path
    redis+sentinel://[user:password@]host1:26379,host2:26379/SERVICE[/0][?sentinel_password=...]
    redis+cluster://[user:password@]host1:7000,host2:7001

`rediss+sentinel` and `rediss+cluster` speak TLS. Redis and Valkey are spoken to alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import hiredis
import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.driver_info import DriverInfo
from redis.sentinel import Sentinel

PLAIN = ("redis", "rediss", "unix")
KINDS = (*PLAIN, "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")


@dataclass(frozen=True)
class Several:
    """What an address of several servers says.

    Args:
        hosts: host and port of each.
        service: the name that the Sentinels know the primary by; "" for a cluster.
        database: number of the database.
        credentials: "username" and "password" of the data servers, "ssl"; what is not given is absent.
        sentinel_password: of the Sentinels themselves.
    """

    hosts: tuple[tuple[str, int], ...]
    service: str
    database: int
    credentials: Mapping[str, Any]
    sentinel_password: str | None


def check_url(url: str) -> str:
    """The address, if it is one.

    Raises:
        ValueError: it is none; the message says what is wrong without repeating it, as it may hold a password.
    """
    scheme = url.partition("://")[0]
    if "://" not in url or scheme not in KINDS:
        raise ValueError(f"a Redis URL must start with one of {', '.join(f'{kind}://' for kind in KINDS)}")
    if scheme not in PLAIN:
        several(url)
    return url


def is_cluster(url: str) -> bool:
    """Whether an address is a cluster's, where the keys of one command must lie together."""
    return url.partition("://")[0].endswith("+cluster")


def several(url: str) -> Several:
    """Read an address of several servers.

    Raises:
        ValueError: a part is missing or unusable.
    """
    parts = urlsplit(url)
    sentinel = parts.scheme.endswith("+sentinel")
    login, at, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    credentials: dict[str, Any] = {"ssl": True} if parts.scheme.startswith("rediss") else {}
    if at and user:
        credentials["username"] = unquote(user)
    if at and password:
        credentials["password"] = unquote(password)
    path = [unquote(part) for part in parts.path.split("/") if part]
    if sentinel and not path:
        raise ValueError("a Sentinel URL must name the service: redis+sentinel://host:26379/SERVICE")
    database = path[1] if sentinel and len(path) > 1 else "0"
    if not database.isdecimal():
        raise ValueError("the database of a Sentinel URL must be a number: redis+sentinel://host:26379/SERVICE/0")
    return Several(
        hosts=tuple(_host(text, 26379 if sentinel else 6379) for text in hosts.split(",")),
        service=path[0] if sentinel else "",
        database=int(database),
        credentials=credentials,
        sentinel_password=dict(parse_qsl(parts.query)).get("sentinel_password"),
    )


class _Packing:
    """Commands as bytes by hiredis: redis-py's own packing costs a busy worker a tenth of its time."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """The bytes of one command; its name may be of several words, as "SCRIPT LOAD"."""
        return [hiredis.pack_command((*args[0].split(), *args[1:]))]

    def pack_commands(self, commands: Iterable[tuple[Any, ...]]) -> list[bytes]:
        """The bytes of several commands, together."""
        return [b"".join(self.pack_command(*command)[0] for command in commands)]


def connect(url: str, **options: Any) -> redis.Redis:
    """A blocking client; `options` as of `redis.Redis`.

    Raises:
        ValueError: the address is unusable.
    """
    check_url(url)
    if url.partition("://")[0] in PLAIN:
        return redis.Redis.from_url(url, **options)
    about = several(url)
    if about.service:
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            list(about.hosts), sentinel_kwargs=_of_sentinel(about), **about.credentials, **options
        )
        found: Any = sentinel.master_for(about.service, db=about.database)  # type: ignore[no-untyped-call]
        return cast("redis.Redis", found)
    nodes = [ClusterNode(host, port) for host, port in about.hosts]  # type: ignore[no-untyped-call]
    return cast("redis.Redis", RedisCluster(startup_nodes=nodes, **about.credentials, **options))


def connect_async(url: str, *, timeout_s: float, pool_size: int) -> redis.asyncio.Redis:
    """A client for one worker's requests: it waits no longer than it may, and tries nothing twice.

    Args:
        url: the address.
        timeout_s: longest wait for a connection, and for an answer.
        pool_size: connections held at most, to each server.

    Raises:
        ValueError: the address is unusable.
    """
    check_url(url)
    impatient: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "driver_info": DriverInfo(),  # else each connection reads the client's version from the disk
    }
    once = AsyncRetry(NoBackoff(), 0)
    if url.partition("://")[0] in PLAIN:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url, max_connections=pool_size, timeout=timeout_s, retry=once, **impatient
        )
        pool.connection_class = type("Connection", (_Packing, pool.connection_class), {})
        return redis.asyncio.Redis.from_pool(pool)
    about = several(url)
    if about.service:
        watched = AsyncSentinel(  # type: ignore[no-untyped-call]
            list(about.hosts),
            sentinel_kwargs=_of_sentinel(about) | impatient,
            retry=once,
            **about.credentials,
            **impatient,
        )
        master: Any = watched.master_for(about.service, db=about.database, max_connections=pool_size)
        return cast("redis.asyncio.Redis", master)
    nodes = [AsyncClusterNode(host, port) for host, port in about.hosts]
    cluster: object = AsyncRedisCluster(
        startup_nodes=nodes,
        max_connections=pool_size,
        retry=AsyncRetry(NoBackoff(), 1),  # a moved slot is looked up again; a lost server is left to the breaker
        **about.credentials,
        **impatient,
    )
    return cast("redis.asyncio.Redis", cluster)


@contextmanager
def hanging_up() -> Iterator[None]:
    """Of a connection that was closed a moment ago uvloop says by another error than the client's and the system's.

    Raises:
        redis.ConnectionError: the server has hung up.
    """
    try:
        yield
    except RuntimeError as error:
        if "the handler is closed" not in str(error):
            raise
        raise redis.ConnectionError(str(error)) from error


def many(client: redis.Redis, names: list[str]) -> list[bytes | None]:
    """Values of string keys, wherever in a cluster they lie; None where absent."""
    spoken: Any = client
    found = spoken.mget_nonatomic(names) if isinstance(spoken, RedisCluster) else spoken.mget(names)
    return cast("list[bytes | None]", found)


async def many_async(client: redis.asyncio.Redis, names: list[str]) -> list[bytes | None]:
    """As `many`."""
    spoken: Any = client
    asked = spoken.mget_nonatomic(names) if isinstance(spoken, AsyncRedisCluster) else spoken.mget(names)
    return cast("list[bytes | None]", await asked)


async def close(client: redis.asyncio.Redis) -> None:
    """Give back the connections to the servers, and to the Sentinels that watch over them."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    await client.aclose()
    for sentinel in manager.sentinels if manager is not None else ():
        await sentinel.aclose()


def memories(client: redis.Redis) -> list[Mapping[str, Any]]:
    """What each server that holds data says of its memory; of a cluster, every primary."""
    spoken: Any = client
    if not isinstance(spoken, RedisCluster):
        return [spoken.info("memory")]
    found: dict[str, Any] = spoken.info("memory", target_nodes=RedisCluster.PRIMARIES)
    nested = all(isinstance(one, dict) for one in found.values())  # by server, unless there is only one
    return list(found.values()) if nested else [found]


def _of_sentinel(about: Several) -> dict[str, Any]:
    given = {} if about.sentinel_password is None else {"password": about.sentinel_password}
    return given | ({"ssl": True} if about.credentials.get("ssl") else {})


def _host(text: str, usual_port: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, str(usual_port)
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("each server of a Redis URL must be host:port, with a port from 1 to 65535")
    return host.strip("[]"), int(port)
