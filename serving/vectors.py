"""The items' vectors in Redis, and the search among them, where the server has vector sets (Redis 8 and later).

A vector set finds the largest cosines (HNSW), a feed wants the largest dot products. Each vector therefore gets one
more number that brings all to the same length, and a query a zero there: then the order by cosine is that by dot
product (Bachrach et al. 2014). What the server names is scored from the exact vectors.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import redis
import structlog
from numpy.typing import NDArray
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.errors import InputError
from recsys.bundle import Bundle
from recsys.index import ApproximateIndex, ItemIndex
from recsys.pipeline.retrieval import index_of
from recsys.recommender import BundleRecommender
from recsys.search.spaces import Spaces
from serving.connection import connect
from serving.keys import Keys
from serving.settings import Settings
from serving.versions import batches

log = structlog.get_logger()

Floats = NDArray[np.float32]
ELEMENT_BYTES = 690
"""What an element takes beside its vector, one byte a number: name, place in the graph, links."""
LEAST_EFFORT = 200
"""Candidates that the server's search keeps at least."""
PROBES, PROBE_K = 100, 100
"""Users whose best so many items are looked for, both ways, after a load."""


def offered(client: redis.Redis, key: str) -> bool:
    """Whether the server has vector sets."""
    try:
        held(client, key)
    except redis.ResponseError as error:
        if "unknown command" in str(error):
            return False
        raise
    return True


def must_be_offered(client: redis.Redis, key: str) -> None:
    """Insist on the server having vector sets.

    Raises:
        InputError: it has none.
    """
    if not offered(client, key):
        raise InputError("vectors in Redis need a server with vector sets (Redis 8 or later), this one has none")


def held(client: redis.Redis, key: str) -> int:
    """How many vectors there are."""
    return int(cast("Any", client).execute_command("VCARD", key))


def predicted_vector_bytes(vectors: Floats) -> int:
    """What vectors will take in Redis."""
    n_items, width = vectors.shape
    return int(n_items * (width + 1 + ELEMENT_BYTES))


def load_vectors(client: redis.Redis, key: str, vectors: Floats, *, alive: Callable[[], None] = lambda: None) -> None:
    """Write the vectors of all items, float32 [n_items, dim], quantized to a byte a number.

    Args:
        client: of the server.
        key: of the vector set.
        vectors: one a row.
        alive: called with each batch, as of `Loader`: a million take longer than a publisher may be silent.

    Raises:
        InputError: the server has no vector sets, or did not take all.
    """
    must_be_offered(client, key)
    client.delete(key)
    lifted = _lifted(vectors)
    for rows in batches(range(len(vectors))):
        pipeline: Any = client.pipeline(transaction=False)
        for row, vector in zip(rows, lifted[rows], strict=True):
            pipeline.execute_command("VADD", key, "FP32", vector.tobytes(), str(row), "Q8")
        pipeline.execute()
        alive()
    there = held(client, key)
    if there != len(vectors):
        raise InputError(f"{key} must hold {len(vectors)} vectors, it holds {there} (is Redis full?)")


def vector_recall(client: redis.Redis, key: str, vectors: Floats, users: Floats) -> float:
    """Of the best 100 items of some users, float32 [n_users, dim - 1], the share that is found; NaN without a user."""
    index = ApproximateIndex(vectors, RedisSearcher(client, key, len(vectors)))
    some = users[:: max(1, len(users) // PROBES)]
    some = some[np.any(some, axis=1)]
    k = min(PROBE_K, len(vectors))
    missed = [index.missed(np.append(user, np.float32(1)), k) / k for user in some]
    return 1 - float(np.mean(missed)) if missed else float("nan")


class RedisSearcher:
    """What `ApproximateIndex` asks for candidates, answered by a vector set.

    Args:
        client: blocking; it is asked in a thread, and should not wait long.
        key: of the vector set, whose elements are row numbers.
        ntotal: rows that it has.
        otherwise: a faiss index of the same vectors, for the time the server does not answer; None: every item is
            scored.
        pause_s: after a failure the server is left alone for so long.
        failed: called after each failure.
    """

    def __init__(
        self,
        client: redis.Redis,
        key: str,
        ntotal: int,
        *,
        otherwise: Any = None,
        pause_s: float = 1.0,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self.ntotal = ntotal
        self._client, self._key, self._otherwise = client, key, otherwise
        self._pause_s, self._failed = pause_s, failed
        self._not_before = 0.0

    def search(self, queries: Floats, k: int) -> tuple[Floats, NDArray[np.int64]]:
        """As of a faiss index, of queries, float32 [n, dim]: no products (NaN), and rows [n, k], -1 for none."""
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        for query, of in zip(queries, rows, strict=True):
            found = self._found(np.append(query, np.float32(0)), k)
            if not found:
                if self._otherwise is not None:
                    return cast("tuple[Floats, NDArray[np.int64]]", self._otherwise.search(queries, k))
                break  # nobody is named, so every item is scored
            of[: len(found)] = found
        return np.full(rows.shape, np.nan, dtype=np.float32), rows

    def _found(self, query: Floats, k: int) -> list[int]:
        if time.monotonic() < self._not_before:
            return []
        effort = max(LEAST_EFFORT, 2 * k)
        try:
            asked = ("VSIM", self._key, "FP32", query.tobytes(), "COUNT", k, "EF", effort)
            named: list[bytes] = cast("Any", self._client).execute_command(*asked)
        except redis.RedisError as error:
            log.warning("vectors are searched in the process", why=str(error))
            self._not_before = time.monotonic() + self._pause_s
            self._failed()
            return []
        return [int(element) for element in named]


class StoredVectors:
    """Indexes of published versions, for one worker.

    Args:
        settings: of the worker.
        failed: called when Redis was asked in vain.
    """

    def __init__(self, settings: Settings, *, failed: Callable[[], None]) -> None:
        self._settings, self._keys, self._failed = settings, Keys(settings.tenant), failed
        wait = settings.redis_timeout_s
        url = "" if settings.redis_url is None else settings.redis_url.get_secret_value()
        once = Retry(NoBackoff(), 0)
        self._client = connect(url, socket_timeout=wait, socket_connect_timeout=wait, retry=once)

    def recommenders(self, kind: type[BundleRecommender]) -> Callable[..., BundleRecommender]:
        """Makes recommenders whose feeds ask Redis, where it has the version's vectors."""

        def made(bundle: Bundle, *, spaces: Spaces | None = None) -> BundleRecommender:
            return kind(bundle, spaces=spaces, index=self._index(bundle))

        return made

    def _index(self, bundle: Bundle) -> ItemIndex:
        usual = index_of(bundle)
        key, n = self._keys.vectors(bundle.version), len(bundle)
        why = "this version has none in Redis"
        try:
            there = offered(self._client, key) and held(self._client, key) == n
        except redis.RedisError as error:
            self._failed()
            there, why = False, str(error)
        if not there:
            log.warning("vectors are searched in the process", version=bundle.version, why=why)
            return usual
        otherwise = usual.searcher if isinstance(usual, ApproximateIndex) else None
        pause_s, failed = self._settings.poll_s, self._failed
        searcher = RedisSearcher(self._client, key, n, otherwise=otherwise, pause_s=pause_s, failed=failed)
        return ApproximateIndex(bundle.item_vectors, searcher)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()


def _lifted(vectors: Floats) -> Floats:
    """With one more number a row, so that all are of one length, float32 [n, dim + 1]."""
    square = np.einsum("nd,nd->n", vectors, vectors)
    return np.concatenate([vectors, np.sqrt(square.max(initial=0) - square)[:, None]], axis=1).astype(np.float32)
