"""A version's keys into Redis, block by block: made in several processes, written, read back, and taken up again.

What each block's values hash to is noted in Redis when it is written. A publish that was cut off therefore goes on
where it was: blocks that read back as noted are not made again.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import cast

import redis

from features.cores import cores
from features.errors import InputError
from features.interrupts import helpers_deaf_to_ctrl_c
from features.progress import bar
from recsys.bundle import Bundle
from recsys.recommender import BundleRecommender
from serving.connection import many
from serving.entries import Block, Entry, blocks, entries_of, names_of
from serving.keys import Keys
from serving.versions import batches

ALONE = 20
"""Blocks that one process makes sooner than others would have started."""
DIGEST_BYTES = 8


class Loader:
    """Loads versions.

    Args:
        client: where to.
        keys: of the tenant whose versions they are.
        alive: called with each block, so that the publisher keeps its lock.
        processes: that make the lists; None: one for each core, where there is enough to make.
    """

    def __init__(
        self, client: redis.Redis, keys: Keys, *, alive: Callable[[], None], processes: int | None = None
    ) -> None:
        self._client = client
        self._keys = keys
        self._alive = alive
        self._processes = processes

    def load(self, bundle: Bundle, recommender: BundleRecommender, *, resume: bool) -> int:
        """Write every key of a version and read all of them back; how many there are.

        Args:
            bundle: the version.
            recommender: over it.
            resume: whether blocks that an earlier publish wrote may stand; not where they may expire.

        Raises:
            InputError: what Redis gave back is not what it was given.
        """
        every = blocks(bundle)
        noted = self._keys.loaded(bundle.version)
        if not resume:
            self._client.delete(noted)
        found = cast("dict[bytes, bytes]", self._client.hgetall(noted))
        written = {block: found[block.name.encode()] for block in every if block.name.encode() in found}
        names = {block: names_of(block, bundle, self._keys) for block in every}
        whole = {block for block, digests in written.items() if self._differs(names[block], digests) is None}
        with bar("publish", total=sum(map(len, names.values()))) as progress:
            progress.advance(sum(len(names[block]) for block in whole))
            left = [block for block in every if block not in whole]
            for block, entries in self._made(bundle, recommender, left):
                written[block] = b"".join(_digest(value) for _, value in entries)
                for batch in batches(entries):
                    pipeline = self._client.pipeline(transaction=False)
                    for name, value in batch:
                        pipeline.set(name, value)
                    pipeline.execute()
                self._client.hset(noted, block.name, written[block])
                self._alive()
                progress.advance(len(entries))
        self._read_back({block: names[block] for block in left}, written)
        self._client.delete(noted)
        return sum(map(len, names.values()))

    def _read_back(self, names: dict[Block, list[str]], written: dict[Block, bytes]) -> None:
        with bar("verify", total=sum(map(len, names.values()))) as progress:
            for block, of_block in names.items():
                differs = self._differs(of_block, written[block])
                if differs is not None:
                    name, value = differs
                    found = "nothing" if value is None else f"{len(value)} other bytes"
                    raise InputError(f"{name} must read back as it was written, Redis holds {found} (is it full?)")
                self._alive()
                progress.advance(len(of_block))

    def _differs(self, names: Sequence[str], digests: bytes) -> tuple[str, bytes | None] | None:
        """The first key that does not hold what it was given, and what it holds; None where all do."""
        if len(digests) != DIGEST_BYTES * len(names):
            return names[0], None
        values = chain.from_iterable(many(self._client, batch) for batch in batches(names))
        for place, (name, value) in enumerate(zip(names, values, strict=True)):
            wanted = digests[DIGEST_BYTES * place : DIGEST_BYTES * (place + 1)]
            if value is None or _digest(value) != wanted:
                return name, value
        return None

    def _made(
        self, bundle: Bundle, recommender: BundleRecommender, left: Sequence[Block]
    ) -> Iterator[tuple[Block, list[Entry]]]:
        """The entries of each block, as they come."""
        processes = self._processes or (cores() if len(left) > ALONE else 1)
        if processes == 1:
            for block in left:
                yield block, entries_of(block, bundle, recommender, self._keys)
            return
        with ExitStack() as stack:
            fresh = multiprocessing.get_context("spawn")  # a fork would copy the locks of whatever threads run here
            pool = ProcessPoolExecutor(
                processes, mp_context=fresh, initializer=_begin, initargs=(bundle.path, self._keys)
            )
            stack.callback(pool.shutdown, cancel_futures=True)
            yield from _in_turn(pool, left, ahead=2 * processes)


def _in_turn(pool: ProcessPoolExecutor, left: Iterable[Block], *, ahead: int) -> Iterator[tuple[Block, list[Entry]]]:
    """Blocks made by other processes, no more than so many ahead of who writes them."""
    waiting: deque[tuple[Block, Future[list[Entry]]]] = deque()
    for block in left:
        with helpers_deaf_to_ctrl_c():  # the first starts them
            waiting.append((block, pool.submit(_make, block)))
        if len(waiting) > ahead:
            first, made = waiting.popleft()
            yield first, made.result()
    for block, made in waiting:
        yield block, made.result()


_own: tuple[Bundle, BundleRecommender, Keys] | None = None
"""What a helper makes lists from."""


def _begin(path: Path, keys: Keys) -> None:
    """Start a helper. The products of one process use one core."""
    global _own  # noqa: PLW0603 - a pool's initializer has no other way to hand over
    from threadpoolctl import threadpool_limits

    bundle = Bundle.open(path, verify=False)  # the one who publishes has looked
    _own = bundle, BundleRecommender(bundle), keys
    threadpool_limits(1)


def _make(block: Block) -> list[Entry]:
    if _own is None:
        raise RuntimeError("a helper must have begun before it makes lists")
    return entries_of(block, *_own)


def _digest(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=DIGEST_BYTES).digest()
