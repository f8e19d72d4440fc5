"""What the commands for rules and experiments share: one conversation with Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from features.errors import InputError
from recsys.bundle_format import read_manifest
from serving.documents import Documents
from serving.embedded_redis import EmbeddedRedis
from serving.settings import Settings, masked
from serving.store import Store, StoreDownError, StoreRefusedError
from serving.telemetry import Telemetry

T = TypeVar("T")
PATIENCE_S = 10.0


@dataclass(frozen=True)
class Desk:
    """A document's versions, and the Redis they lie in."""

    documents: Documents
    store: Store

    async def bundle(self) -> Path | None:
        """Where the published bundle lies, None where it cannot be read from here."""
        version, _ = await self.store.probe(None)
        if version is None:
            return None
        path = (await self.store.meta(version)).get("bundle")
        try:
            return Path(path) if path and read_manifest(Path(path)).version == version else None
        except InputError:
            return None


def with_rules(redis: str | None, run: Callable[[Desk], Awaitable[T]]) -> T:
    """Do something with the versions of the rules.

    Args:
        redis: URL; None: that of the environment, else the embedded server.
        run: what to do.

    Raises:
        InputError: Redis does not answer, or takes no writes.
    """
    given = {"redis_timeout_s": PATIENCE_S}
    settings = Settings.load(**(given if redis is None else {**given, "redis_url": redis}))
    with ExitStack() as stack:
        if settings.redis_url is not None:
            url = settings.redis_url.get_secret_value()
        else:
            url = stack.enter_context(EmbeddedRedis(settings.state_dir / "redis")).url

        async def talk() -> T:
            store = Store(url, settings, Telemetry())
            try:
                return await run(Desk(Documents(store, store.keys.rules), store))
            finally:
                await store.close()

        try:
            return asyncio.run(talk())
        except StoreDownError as error:
            what = "takes no writes" if isinstance(error, StoreRefusedError) else "does not answer"
            raise InputError(f"Redis at {masked(url)} {what}: {error}") from error
