"""From a bundle to Redis: load under a new version, read back, switch one pointer, keep the last version, expire older.

A version's keys are written beside those that are being read, so workers notice nothing until the pointer moves; the
bundle's files are kept (hard links) beside the data, so that a rollback finds the files its lists were made from.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import redis
import structlog

from features.errors import InputError
from recsys.bundle import Bundle
from recsys.bundle_format import read_manifest
from recsys.recommender import BundleRecommender
from serving.connection import memories
from serving.entries import predicted_bytes
from serving.items.pruning import prune_items
from serving.keys import Keys
from serving.loading import Loader
from serving.publish_lock import LockLostError, PublishLock
from serving.shadow.report import ShadowReport, shadow_report
from serving.vectors import held, load_vectors, must_be_offered, offered, predicted_vector_bytes, vector_recall
from serving.versions import Versions

log = structlog.get_logger()


@dataclass(frozen=True)
class Published:
    """What a publish did.

    Args:
        version: the version now current.
        previous: the version before, None where there was none.
        n_keys: keys of the version; 0 where it was current already.
        predicted_bytes, measured_bytes: Redis memory as predicted, and as the server's own account grew.
        seconds: how long it took.
        vector_recall: share of the best 100 items of some users that a search in Redis finds; None where no vectors
            were asked for, NaN where nobody could be asked.
    """

    version: str
    previous: str | None
    n_keys: int
    predicted_bytes: int
    measured_bytes: int
    seconds: float
    vector_recall: float | None = None


class Publisher:
    """Publishes bundles to one Redis.

    Args:
        client: where to.
        state_dir: where the files of published bundles are kept.
        keep: versions kept beside the current one.
        memory_budget: largest Redis memory in bytes; None: the server's maxmemory, if it has one.
        tenant: whose bundles they are; "": the service has one shop.
        processes: that make the lists; None: as many as there are cores, where there is much to make.
        vectors: also load the items' vectors, for workers that search them in Redis.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        state_dir: Path,
        keep: int = 1,
        memory_budget: int | None = None,
        tenant: str = "",
        processes: int | None = None,
        vectors: bool = False,
    ) -> None:
        self._vectors = vectors
        self._client = client
        self._keys = Keys(tenant)
        self._versions = Versions(client, state_dir.absolute() / "bundles", self._keys)
        self._lock = PublishLock(client, self._keys.publishing)
        self._loader = Loader(client, self._keys, alive=self._lock.keep, processes=processes)
        self._keep = keep
        self._memory_budget = memory_budget

    def current(self) -> str | None:
        """The version that workers answer from."""
        return self._versions.current()

    def publish(self, bundle: Bundle, *, if_none: bool = False) -> Published:
        """Make a bundle the current version; one whose publish was cut off goes on where it was.

        Args:
            bundle: the version.
            if_none: leave what is current, if anything is.

        Raises:
            InputError: the memory would pass the budget, another publish is running (also one that began as this one
                was silent for longer than the lock holds: `LockLostError`), what Redis gave back is not what it was
                given, or another version became current where none was to be; the current version stays as it was.
        """
        began = time.monotonic()
        with self._lock.held():
            if self._vectors:  # before anything is loaded
                must_be_offered(self._client, self._keys.vectors(bundle.version))
            previous = self._versions.current()
            if if_none and previous is not None:
                return Published(previous, self._versions.previous_of(previous), 0, 0, 0, time.monotonic() - began)
            if previous == bundle.version and self._versions.intact(bundle):
                before = self._versions.previous_of(bundle.version)
                recall = self._with_vectors(bundle) if self._vectors else None
                return Published(bundle.version, before, 0, 0, 0, time.monotonic() - began, recall)
            if self._versions.shadowed() == bundle.version and self._versions.intact(bundle):  # loaded and read back
                n_keys, predicted, measured = int(self._versions.meta(bundle.version)["n_keys"]), 0, 0
                self._versions.record(bundle, previous, n_keys=n_keys)
            else:
                n_keys, predicted, measured = self._loaded(bundle, previous, vectors=self._vectors)
            recall = self._with_vectors(bundle) if self._vectors else None
            self._switch(bundle.version, if_none=if_none)
            kept = self._retire()
            if kept is not None:
                prune_items(self._client, self._keys, self._bundles(kept))
        log.info("published", version=bundle.version, previous=previous, keys=n_keys, bytes=measured)
        return Published(bundle.version, previous, n_keys, predicted, measured, time.monotonic() - began, recall)

    def shadow(self, bundle: Bundle, share: float) -> Published:
        """Load a bundle beside the current version, and let workers try it on a share of their traffic.

        Where the current version has its vectors in Redis, so gets this one.

        Args:
            bundle: the one to try; in place of another that is tried now, which then expires.
            share: of requests, in (0, 1].

        Raises:
            InputError: nothing is published to compare it with, it is current already, or as `publish`.
        """
        began = time.monotonic()
        with self._lock.held():
            current, before = self._versions.current(), self._versions.shadowed()
            if current is None or current == bundle.version:
                why = "nothing is published that it could stand beside" if current is None else "it is current already"
                raise InputError(f"version {bundle.version} cannot be a shadow: {why}")
            key = self._keys.vectors(current)
            vectors = self._vectors or (offered(self._client, key) and held(self._client, key) > 0)
            n_keys = predicted = measured = 0
            if not (self._versions.kept(bundle.version) and self._versions.intact(bundle)):
                n_keys, predicted, measured = self._loaded(bundle, current, vectors=vectors)
            recall = self._with_vectors(bundle) if vectors else None  # workers look for them once, when they open it
            self._lock.keep()
            self._versions.cast_shadow(bundle.version, share)
            if before is not None and before != bundle.version:
                self._retire()
        log.info("shadowed", version=bundle.version, current=current, share=share, keys=n_keys)
        return Published(bundle.version, current, n_keys, predicted, measured, time.monotonic() - began, recall)

    def shadow_report(self) -> ShadowReport:
        """How the shadowed version compares with the current one.

        Raises:
            InputError: none is tried.
        """
        return shadow_report(self._client, self._keys, self._versions)

    def end_shadow(self) -> str:
        """Stop trying a version; it expires unless a rollback may return to it.

        Returns:
            The version.

        Raises:
            InputError: none is tried.
        """
        with self._lock.held():
            version = self._versions.shadowed()
            if version is None:
                raise InputError("no version is shadowed, so there is nothing to stop")
            self._versions.lift_shadow()
            self._retire()
        return version

    def switch_to_shadow(self) -> Published:
        """Make the shadowed version current.

        Raises:
            InputError: none is tried, or as `publish`.
        """
        version = self._versions.shadowed()
        if version is None:
            raise InputError("no version is shadowed, so there is none to switch to: recsys shadow start BUNDLE")
        return self.publish(Bundle.open(Path(self._versions.meta(version)["bundle"])))

    def rollback(self) -> tuple[str, str]:
        """Make the previous version current again.

        Returns:
            The version left, and the one returned to.

        Raises:
            InputError: nothing is published, or the previous version is no longer whole.
        """
        with self._lock.held():
            current = self._versions.current()
            if current is None:
                raise InputError("nothing is published, so there is nothing to roll back")
            previous = self._versions.previous_of(current)
            if previous is None:
                raise InputError(f"no version was published before {current}, so there is none to return to")
            meta = self._versions.meta(previous)
            if not meta or not self._versions.kept(previous):
                raise InputError(f"version {previous} is not kept any more: publish its bundle again")
            path = Path(meta["bundle"])
            if read_manifest(path).version != previous:
                raise InputError(f"{path} must hold version {previous}, it holds another: publish its bundle again")
            bundle = Bundle.open(path)
            if not self._versions.intact(bundle):
                raise InputError(f"version {previous} lacks keys in Redis: publish {path} again")
            self._switch(previous)
        log.info("rolled back", left=current, current=previous)
        return current, previous

    def _switch(self, version: str, *, if_none: bool = False) -> None:
        """Make a version current; what is current is tried no longer."""
        if not self._versions.switch(version, self._lock, if_none=if_none):
            self._retire()
            raise InputError(f"version {self._versions.current()} became current meanwhile: {version} is left out")
        if self._versions.shadowed() == version:
            self._versions.lift_shadow()

    def _retire(self) -> list[str] | None:
        """Expire versions that are not kept; the others, or None where the lock ran out before that was done. What was
        asked for is done by then, and the next publish expires them.
        """
        try:
            return self._versions.retire(self._keep, self._lock)
        except LockLostError:
            log.warning("old versions stay until the next publish: this one was silent for longer than its lock holds")
            return None

    def _loaded(self, bundle: Bundle, previous: str | None, *, vectors: bool) -> tuple[int, int, int]:
        """Load a version, read it back and record it; how many keys, and the memory predicted and measured, bytes."""
        recommender = BundleRecommender(bundle)
        predicted = predicted_bytes(bundle, recommender, self._keys)
        used = self._used_bytes()
        self._check_budget(predicted + (predicted_vector_bytes(bundle.item_vectors) if vectors else 0), used)
        known = previous == bundle.version or self._versions.kept(bundle.version)
        self._versions.announce(bundle.version)
        try:
            n_keys = self._loader.load(bundle, recommender, resume=known)
            self._lock.keep()
            self._versions.record(bundle, previous, n_keys=n_keys)
        except (KeyboardInterrupt, redis.ConnectionError, LockLostError):  # the same again goes on from here
            raise
        except BaseException:
            if not known:  # a version published before stays whole, as a rollback may need it
                self._versions.expire(bundle.version, self._lock)
            raise
        return n_keys, predicted, self._used_bytes() - used

    def _with_vectors(self, bundle: Bundle) -> float:
        """Load the items' vectors, where they are not there; the recall of a search among them."""
        vectors, key = np.asarray(bundle.item_vectors), self._keys.vectors(bundle.version)
        if held(self._client, key) == len(vectors):  # workers may be searching them, and they are what they were
            self._client.persist(key)
        else:
            self._check_budget(predicted_vector_bytes(vectors), self._used_bytes())
            load_vectors(self._client, key, vectors, alive=self._lock.keep)
        recall = vector_recall(self._client, key, vectors, np.asarray(bundle.user_embeddings))
        log.info("vectors loaded", version=bundle.version, items=len(bundle), recall=round(recall, 4))
        return recall

    def _bundles(self, versions: list[str]) -> list[Bundle]:
        """The bundles of published versions."""
        paths = [Path(self._versions.meta(version)["bundle"]) for version in versions]
        return [Bundle.open(path, verify=False) for path in paths if path.is_dir()]

    def _check_budget(self, predicted: int, used: int) -> None:
        budget = self._memory_budget or sum(int(server.get("maxmemory", 0)) for server in memories(self._client))
        if budget and used + predicted > budget:
            raise InputError(
                f"the memory budget is {budget:,} bytes; Redis uses {used:,} and this version would take about "
                f"{predicted:,} more: raise --memory-budget, or keep fewer versions (--keep)"
            )

    def _used_bytes(self) -> int:
        """Memory of the data: what the server uses, less the buffers of its clients and of its log."""
        return sum(
            int(server["used_memory"]) - int(server.get("mem_clients_normal", 0)) - int(server.get("mem_aof_buffer", 0))
            for server in memories(self._client)
        )
