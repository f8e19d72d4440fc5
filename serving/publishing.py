"""From a bundle to Redis: load under a new version, read back, switch one pointer, keep the last version, expire older.

A version's keys are written beside those that are being read, so workers notice nothing until the pointer moves; the
bundle's files are kept (hard links) beside the data, so that a rollback finds the files its lists were made from.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar, cast

import redis
import structlog

from features.errors import InputError
from features.progress import bar
from recsys.bundle import Bundle
from recsys.bundle_format import read_manifest
from recsys.recommendation import Recommendation, Source, UserState
from recsys.recommender import BundleRecommender
from serving import keys
from serving.codec import LIST_LENGTH, Slot, pack
from serving.display import item_json
from serving.footprint import string_bytes

log = structlog.get_logger()
T = TypeVar("T")
_Field = bytes | bytearray | memoryview | str | int | float

BATCH = 200
SAMPLE = 100
"""Items, and users, whose lists are made ahead to predict the memory of all."""
RETIRE_S = 60
"""A version no longer kept lives on for so long, for workers that have not moved yet."""
LOCK_S = 120
"""A publisher that shows no life for so long has died, and another may begin."""


@dataclass(frozen=True)
class Published:
    """What a publish did.

    Args:
        version: the version now current.
        previous: the version before, None where there was none.
        n_keys: keys of the version; 0 where it was current already.
        predicted_bytes, measured_bytes: Redis memory as predicted, and as the server's own account grew.
        seconds: how long it took.
    """

    version: str
    previous: str | None
    n_keys: int
    predicted_bytes: int
    measured_bytes: int
    seconds: float


class Publisher:
    """Publishes bundles to one Redis.

    Args:
        client: where to.
        state_dir: where the files of published bundles are kept.
        keep: versions kept beside the current one.
        memory_budget: largest Redis memory in bytes; None: the server's maxmemory, if it has one.
    """

    def __init__(
        self, client: redis.Redis, *, state_dir: Path, keep: int = 1, memory_budget: int | None = None
    ) -> None:
        self._client = client
        self._bundles = state_dir.absolute() / "bundles"
        self._keep = keep
        self._memory_budget = memory_budget

    def current(self) -> str | None:
        """The version that workers answer from."""
        version = cast("bytes | None", self._client.get(keys.CURRENT))
        return None if version is None else version.decode()

    def publish(self, bundle: Bundle) -> Published:
        """Make a bundle the current version.

        Raises:
            InputError: the memory would pass the budget, another publish is running, or what Redis gave back is not
                what it was given; the current version stays as it was.
        """
        began = time.monotonic()
        with self._lock():
            previous = self.current()
            if previous == bundle.version and self._intact(bundle):
                return Published(bundle.version, self._previous_of(bundle.version), 0, 0, 0, time.monotonic() - began)
            recommender = BundleRecommender(bundle)
            predicted = self._predict(bundle, recommender)
            used = self._used_bytes()
            self._check_budget(predicted, used)
            self._client.sadd(keys.VERSIONS, bundle.version)
            try:
                digests = self._load(bundle, recommender)
                self._read_back(digests)
                self._record(bundle, previous, n_keys=len(digests))
            except BaseException:
                if previous != bundle.version:
                    self._expire(bundle.version)
                raise
            measured = self._used_bytes() - used
            self._client.set(keys.CURRENT, bundle.version)
            self._retire()
        log.info("published", version=bundle.version, previous=previous, keys=len(digests), bytes=measured)
        return Published(bundle.version, previous, len(digests), predicted, measured, time.monotonic() - began)

    def rollback(self) -> tuple[str, str]:
        """Make the previous version current again.

        Returns:
            The version left, and the one returned to.

        Raises:
            InputError: nothing is published, or the previous version is no longer whole.
        """
        with self._lock():
            current = self.current()
            if current is None:
                raise InputError("nothing is published, so there is nothing to roll back")
            previous = self._previous_of(current)
            if previous is None:
                raise InputError(f"no version was published before {current}, so there is none to return to")
            meta = self._meta(previous)
            if not meta or not self._client.sismember(keys.VERSIONS, previous):
                raise InputError(f"version {previous} is not kept any more: publish its bundle again")
            path = Path(meta["bundle"])
            if read_manifest(path).version != previous:
                raise InputError(f"{path} must hold version {previous}, it holds another: publish its bundle again")
            bundle = Bundle.open(path)
            if not self._intact(bundle):
                raise InputError(f"version {previous} lacks keys in Redis: publish {path} again")
            self._client.set(keys.CURRENT, previous)
        log.info("rolled back", left=current, current=previous)
        return current, previous

    def _load(self, bundle: Bundle, recommender: BundleRecommender) -> dict[str, bytes]:
        """Write every key; returns the digest of each value."""
        digests: dict[str, bytes] = {}
        total = 2 * len(bundle.items) + len(bundle.users)
        with bar("publish", total=total) as progress:
            for batch in _batches(_entries(bundle, recommender)):
                pipeline = self._client.pipeline(transaction=False)
                for key, value in batch:
                    pipeline.set(key, value)
                    digests[key] = _digest(value)
                pipeline.expire(keys.PUBLISHING, LOCK_S)
                pipeline.execute()
                progress.advance(len(batch))
        return digests

    def _read_back(self, digests: dict[str, bytes]) -> None:
        with bar("verify", total=len(digests)) as progress:
            for batch in _batches(digests):
                values = cast("list[bytes | None]", self._client.mget(batch))
                for key, value in zip(batch, values, strict=True):
                    if value is None or _digest(value) != digests[key]:
                        found = "nothing" if value is None else f"{len(value)} other bytes"
                        raise InputError(f"{key} must read back as it was written, Redis holds {found} (is it full?)")
                self._client.expire(keys.PUBLISHING, LOCK_S)
                progress.advance(len(batch))

    def _record(self, bundle: Bundle, previous: str | None, *, n_keys: int) -> None:
        """Write what workers and a rollback need to know; the last step before the pointer moves."""
        meta: dict[_Field, _Field] = {
            "bundle": str(self._keep_files(bundle)),
            "n_items": len(bundle.items),
            "n_keys": n_keys,
            "published": time.time(),
        }
        before = self._previous_of(bundle.version) if previous == bundle.version else previous
        if before is not None:
            meta["previous"] = before
        pipeline = self._client.pipeline(transaction=True)
        pipeline.delete(keys.meta(bundle.version))
        pipeline.hset(keys.meta(bundle.version), mapping=meta)
        pipeline.execute()

    def _keep_files(self, bundle: Bundle) -> Path:
        """A copy of the bundle that survives the next training run; hard links where the file system has them."""
        kept = self._bundles / bundle.version
        if bundle.path.resolve() == kept.resolve():
            return kept
        if kept.exists():
            shutil.rmtree(kept)
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_name(f".{kept.name}.{os.getpid()}")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(bundle.path, unfinished, copy_function=_link_or_copy)
        unfinished.rename(kept)
        return kept

    def _predict(self, bundle: Bundle, recommender: BundleRecommender) -> int:
        """Bytes of all keys, from evenly spaced items and users."""
        total = 0.0
        kinds: tuple[tuple[int, Callable[[Bundle, BundleRecommender, range], Iterator[tuple[str, bytes]]]], ...] = (
            (len(bundle.items), _item_entries),
            (len(bundle.users), _user_entries),
        )
        for n, entries in kinds:
            if n:
                rows = range(0, n, max(1, n // SAMPLE))
                total += (
                    sum(string_bytes(key, len(value)) for key, value in entries(bundle, recommender, rows))
                    * n
                    / len(rows)
                )
        return round(total)

    def _check_budget(self, predicted: int, used: int) -> None:
        server = self._client.info("memory")
        budget = self._memory_budget or int(server.get("maxmemory", 0))
        if budget and used + predicted > budget:
            raise InputError(
                f"the memory budget is {budget:,} bytes; Redis uses {used:,} and this version would take about "
                f"{predicted:,} more: raise --memory-budget, or keep fewer versions (--keep)"
            )

    def _used_bytes(self) -> int:
        """Memory of the data: what the server uses, less the buffers of its clients and of its log."""
        server = self._client.info("memory")
        buffers = int(server.get("mem_clients_normal", 0)) + int(server.get("mem_aof_buffer", 0))
        return int(server["used_memory"]) - buffers

    def _intact(self, bundle: Bundle) -> bool:
        """Whether a version is recorded and spot checks find its keys and its files."""
        meta = self._meta(bundle.version)
        if (
            not meta
            or int(meta["n_items"]) != len(bundle.items)
            or not (Path(meta["bundle"]) / "manifest.json").exists()
        ):
            return False
        rows = range(0, len(bundle.items), max(1, len(bundle.items) // SAMPLE))
        names = [keys.item(bundle.version, bundle.items[row]) for row in rows]
        names += [keys.similar(bundle.version, bundle.items[row]) for row in rows]
        return self._client.exists(*names) == len(names)

    def _retire(self) -> None:
        """Expire every version that is neither current nor one of the kept ones before it."""
        kept: list[str] = []
        version = self.current()
        while version is not None and version not in kept and len(kept) <= self._keep:
            kept.append(version)
            version = self._previous_of(version)
        known = {found.decode() for found in cast("set[bytes]", self._client.smembers(keys.VERSIONS))}
        for old in sorted(known - set(kept)):
            self._expire(old)

    def _expire(self, version: str) -> None:
        self._client.srem(keys.VERSIONS, version)
        for batch in _batches(self._client.scan_iter(match=keys.of_version(version), count=1000)):
            pipeline = self._client.pipeline(transaction=False)
            for key in batch:
                pipeline.expire(key, RETIRE_S)
            pipeline.execute()
        shutil.rmtree(self._bundles / version, ignore_errors=True)
        log.info("version expires", version=version, after_s=RETIRE_S)

    def _meta(self, version: str) -> dict[str, str]:
        found = cast("dict[bytes, bytes]", self._client.hgetall(keys.meta(version)))
        return {name.decode(): value.decode() for name, value in found.items()}

    def _previous_of(self, version: str) -> str | None:
        return self._meta(version).get("previous")

    @contextmanager
    def _lock(self) -> Iterator[None]:
        token = secrets.token_hex(8)
        if not self._client.set(keys.PUBLISHING, token, nx=True, ex=LOCK_S):
            raise InputError(f"another publish is running on this Redis (or ended badly: wait {LOCK_S} s)")
        try:
            yield
        finally:
            if self._client.get(keys.PUBLISHING) == token.encode():
                self._client.delete(keys.PUBLISHING)


def _entries(bundle: Bundle, recommender: BundleRecommender) -> Iterator[tuple[str, bytes]]:
    yield from _item_entries(bundle, recommender, range(len(bundle.items)))
    yield from _user_entries(bundle, recommender, range(len(bundle.users)))


def _item_entries(bundle: Bundle, recommender: BundleRecommender, rows: range) -> Iterator[tuple[str, bytes]]:
    for row in rows:
        item_id = bundle.items[row]
        yield keys.item(bundle.version, item_id), item_json(bundle, row)
        yield (
            keys.similar(bundle.version, item_id),
            pack(_slots(bundle, recommender.similar_items(item_id, LIST_LENGTH))),
        )


def _user_entries(bundle: Bundle, recommender: BundleRecommender, rows: range) -> Iterator[tuple[str, bytes]]:
    for row in rows:
        shown = recommender.recommend(UserState(bundle.users[row]), LIST_LENGTH)
        yield keys.feed(bundle.version, bundle.users[row]), pack(_slots(bundle, shown, instead="published"))


def _slots(bundle: Bundle, shown: list[Recommendation], *, instead: Source | None = None) -> list[Slot]:
    return [
        Slot(
            bundle.items.idx(one.item_id),
            one.score,
            "published" if instead and one.source == "personalized" else one.source,
            one.reasons,
        )
        for one in shown
    ]


def _batches(things: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(things)
    while batch := list(islice(remaining, BATCH)):
        yield batch


def _digest(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=8).digest()


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
