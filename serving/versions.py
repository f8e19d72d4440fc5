"""The versions in Redis: which is current, which came before, what each was made from, and how old ones go.

A version's record names the version before it, so the records are a chain along which a rollback walks back. The files
of each version are kept beside the data (hard links), so that they outlive the next training run.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar, cast

import redis
import structlog

from features.aside import aside
from recsys.bundle import Bundle
from serving.entries import spaced
from serving.keys import Keys
from serving.publish_lock import PublishLock

log = structlog.get_logger()
T = TypeVar("T")
_Field = bytes | bytearray | memoryview | str | int | float

BATCH = 200
SIDES = ("live", "shadow")
RETIRE_S = 60
"""A version no longer kept lives on for so long, for workers that have not moved yet."""


class Versions:
    """The versions of one Redis.

    Args:
        client: the Redis.
        folder: where the files of each version are kept.
        keys: of the tenant whose versions they are.
    """

    def __init__(self, client: redis.Redis, folder: Path, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._folder = folder

    def current(self) -> str | None:
        """The version that workers answer from."""
        version = cast("bytes | None", self._client.get(self._keys.current))
        return None if version is None else version.decode()

    def switch(self, version: str, lock: PublishLock, *, if_none: bool = False) -> bool:
        """Make a version current, in one step; whether that was done. With `if_none`, not over another.

        Raises:
            LockLostError: the lock of publishing is no longer held, and nothing is switched.
        """
        return lock.write(self._keys.current, version, if_none=if_none)

    def announce(self, version: str) -> None:
        """Note that a version may have keys, so that they are found even if its publisher dies."""
        self._client.sadd(self._keys.versions, version)

    def kept(self, version: str) -> bool:
        """Whether a version is not expiring."""
        return bool(self._client.sismember(self._keys.versions, version))

    def meta(self, version: str) -> dict[str, str]:
        """A version's record; empty where there is none."""
        found = cast("dict[bytes, bytes]", self._client.hgetall(self._keys.meta(version)))
        return {name.decode(): value.decode() for name, value in found.items()}

    def previous_of(self, version: str) -> str | None:
        """The version that was current before this one."""
        return self.meta(version).get("previous")

    def record(self, bundle: Bundle, previous: str | None, *, n_keys: int) -> None:
        """Write what workers and a rollback need to know; the last step before the pointer moves."""
        meta: dict[_Field, _Field] = {
            "bundle": str(self._keep_files(bundle)),
            "n_items": len(bundle.items),
            "n_keys": n_keys,
            "published": time.time(),
        }
        before = self.previous_of(bundle.version) if previous == bundle.version else previous
        if before is not None:
            meta["previous"] = before
        pipeline = self._client.pipeline(transaction=True)
        pipeline.delete(self._keys.meta(bundle.version))
        pipeline.hset(self._keys.meta(bundle.version), mapping=meta)
        pipeline.execute()

    def intact(self, bundle: Bundle) -> bool:
        """Whether a version is recorded and spot checks find its keys and its files."""
        meta = self.meta(bundle.version)
        if (
            not meta
            or int(meta["n_items"]) != len(bundle.items)
            or not (Path(meta["bundle"]) / "manifest.json").exists()
        ):
            return False
        rows = spaced(len(bundle.items))
        names = [self._keys.item(bundle.version, bundle.items[row]) for row in rows]
        names += [self._keys.similar(bundle.version, bundle.items[row]) for row in rows]
        return self._client.exists(*names) == len(names)

    def shadowed(self) -> str | None:
        """The version that is tried on live traffic."""
        version = cast("bytes | None", self._client.hget(self._keys.shadow, "version"))
        return None if version is None else version.decode()

    def cast_shadow(self, version: str, share: float) -> None:
        """Let workers try a version on a share of their traffic, and count from nothing."""
        pipeline = self._client.pipeline(transaction=False)
        for key in (self._keys.shadow_tally(version), *(self._keys.shadow_items(version, one) for one in SIDES)):
            pipeline.delete(key)
        pipeline.hset(self._keys.shadow, mapping={"version": version, "share": share, "started": time.time()})
        pipeline.execute()

    def lift_shadow(self) -> None:
        """Let workers try no version any more."""
        self._client.delete(self._keys.shadow)

    def retire(self, keep: int, lock: PublishLock) -> list[str]:
        """Expire every version that is neither current, nor one of the kept ones before it, nor shadowed; the others,
        newest first.

        Raises:
            LockLostError: the lock of publishing is no longer held: what is not current may be what its holder loads.
        """
        lock.keep()
        kept: list[str] = []
        version = self.current()
        while version is not None and version not in kept and len(kept) <= keep:
            kept.append(version)
            version = self.previous_of(version)
        known = {found.decode() for found in cast("set[bytes]", self._client.smembers(self._keys.versions))}
        shadowed = self.shadowed()
        if shadowed is not None and shadowed not in kept:
            kept.append(shadowed)
        for old in sorted(known - set(kept)):
            self.expire(old, lock)
        return kept

    def expire(self, version: str, lock: PublishLock) -> None:
        """Let a version's keys expire, and drop its files.

        Raises:
            LockLostError: as `retire`; what has not expired until then stays.
        """
        self._client.srem(self._keys.versions, version)
        try:
            for batch in batches(self._client.scan_iter(match=self._keys.of_version(version), count=1000)):
                pipeline = self._client.pipeline(transaction=False)
                for key in batch:
                    pipeline.expire(key, RETIRE_S)
                pipeline.execute()
                lock.keep()  # of a large shop this takes minutes
        except BaseException:  # some keys have no expiry yet, and must be found again
            with suppress(redis.RedisError):
                self.announce(version)
            raise
        shutil.rmtree(self._folder / version, ignore_errors=True)
        log.info("version expires", version=version, after_s=RETIRE_S)

    def _keep_files(self, bundle: Bundle) -> Path:
        """A copy of the bundle that survives the next training run; hard links where the file system has them."""
        kept = self._folder / bundle.version
        if bundle.path.resolve() == kept.resolve():
            return kept
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = aside(kept)
        try:
            shutil.copytree(bundle.path, unfinished, copy_function=_link_or_copy)
            if kept.exists():
                shutil.rmtree(kept)
            unfinished.rename(kept)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return kept


def batches(things: Iterable[T]) -> Iterator[list[T]]:
    """Lists of `BATCH` things."""
    remaining = iter(things)
    while batch := list(islice(remaining, BATCH)):
        yield batch


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
